"""A seeded city with its truth: households, meters, doors and their faults.

It speaks the wire contract only, and knows nothing of how its data will be judged.
"""
