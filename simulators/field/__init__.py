"""Devices of an estate, each on its own protocol and port, with what goes wrong in the field; they
know no gateway.

Every device keeps a ledger of what it gave out, so that a test can hold it against what was stored.
"""
