"""Rendered camera scenes with their truth: a fire lane from above, a facade from below, by day and
night, in rain and shadow.

Numbers only (numpy), grey pictures, a seed each. What happens is drawn from the seed before the
first picture, and told with it.
"""
