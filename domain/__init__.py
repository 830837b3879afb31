"""The words of the trade: pure types and laws, with no I/O, no clock and nothing but the standard
library.
"""
