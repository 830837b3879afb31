"""Notices: rules turn changes of alerts into messages, and channels carry them."""
