"""Sealed values, for the server and the gateway alike: encryption that knows nothing else of Anju."""
