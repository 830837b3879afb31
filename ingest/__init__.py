"""Ingest: MQTT in, validate, place, de-duplicate, write, quarantine, acknowledge after the commit, wake the live bus."""
