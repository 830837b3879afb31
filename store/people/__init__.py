"""Personal data behind its own wall: people and their faces."""
