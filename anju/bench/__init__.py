"""Measured speeds: what we do, the limits of the parts, and peers, in turn in one run on one
machine, as ratios.
"""
