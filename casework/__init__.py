"""Casework: what people do about alerts. Today: acknowledge and comment; cases come on top of it."""
