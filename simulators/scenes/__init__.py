"""Rendered camera scenes with their truth: a fire lane and a facade, in all weathers.

They are grey pictures in numpy, one seed a scene. What happens is drawn from the seed before the
first picture, and listed in `truth`.
"""
