"""Sealed values, for server and gateway alike: encryption that knows nothing else of Anju."""
