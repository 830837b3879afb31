"""Casework: what people do about alerts."""
