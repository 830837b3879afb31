"""The HTTP API and the live page: one module per resource, every answer cut to the caller's scope
in SQL.
"""
