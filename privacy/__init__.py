"""People's names, numbers and phones: stored sealed, shown masked, looked at for a purpose, and
erased for good.
"""
