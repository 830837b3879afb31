"""Notices: their deliveries and the browsers that receive them."""
