"""The nightly run: readings become facts, facts become findings, findings become alerts.

`facts` brings the facts of units up to date. `load` reads what detectors may know, `judge` decides
without a connection, and `apply` stores the verdicts. `run` and `past` do this for estates by day,
by night, and for nights of the past.
"""
