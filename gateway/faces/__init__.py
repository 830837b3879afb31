"""Faces at a door, on the estate, of those who consented to it: optional, off unless an estate
turns it on, and never the only way in.
"""
