"""A seeded city with its truth: households, meters, doors and their faults, over the wire contract
only.

It knows nothing of how its data will be judged; detectors and simulators never meet.
"""
