"""The store: the only SQL and the only Redis in the house, one module per aggregate."""
