"""Sealed values, for the server and the gateway alike: what a key closes and only that key opens. Knows nothing else of Anju."""
