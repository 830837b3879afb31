"""Findings, abstentions, nights and the queue of watch."""
