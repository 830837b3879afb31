"""The web console: templates, static files and words. No code; `api` serves it."""
