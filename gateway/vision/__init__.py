"""Cameras at the edge: rules for their pictures, the cameras' own health, and clips.

Clips stay on the estate.
"""
