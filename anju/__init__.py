"""The composition root: the `anju` command, settings, embedded servers, the demo. Everything is
wired here.
"""
