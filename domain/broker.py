"""Where an MQTT broker is and how to speak to it: a value that gateways and ingest share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """A broker. `protocol` is 5, or 311 for a broker that has no MQTT 5; `ca_file` turns TLS on."""

    host: str = "127.0.0.1"
    port: int = 1883
    protocol: int = 5
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
