"""The gateway: the edge process between the devices of an estate and the broker.

It loses nothing.
"""
