"""Devices of an estate, each on its own protocol and port, with the faults of the field.

They know no gateway. Every device lists what it gave out, so a test can compare that with what was
stored.
"""
