"""The `anju` command: one module a group of commands, thin over what does the work."""
