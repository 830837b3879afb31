"""Telling people: rules turn changes of alerts into messages, and channels carry them until somebody has them."""
