"""Alerts: raising, listing, suppressions, figures and welfare watches."""
