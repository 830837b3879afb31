"""Faces at a door, on the estate, of those who consented to it.

They are optional, off unless an estate turns them on, and never the only way in.
"""
