"""Gateways: their identities and the commands sent to them."""
