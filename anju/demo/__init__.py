"""The demo: a whole site on one machine, with embedded servers where it has none."""
