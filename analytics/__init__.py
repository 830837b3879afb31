"""Analytics: registers to intervals to unit-day facts to findings to alerts; watch for what cannot
wait a night.
"""
