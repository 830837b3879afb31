"""Casework: visits and their outcomes."""
