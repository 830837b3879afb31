"""Readings, events and the unit-day facts made of them."""
