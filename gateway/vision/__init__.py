"""Cameras at the edge: what a rule sees in their pictures, whether a camera sees at all, and clips
that stay on the estate.
"""
