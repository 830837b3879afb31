"""The alert benchmark's parts.

Every event that it sends is in the stream, and its storm is what it says.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anju.bench import alerts
from anju.demo.embedded import Postgres, find_program
from store.database.migration import Level


def test_a_storm_is_the_last_words_of_every_gateway() -> None:
    packets = list(alerts._storm({"es": [("gw-1", 120), ("gw-2", 50)]}))
    assert len(packets) == 3 + 1 + 1 + 1
    bodies = [json.loads(raw[raw.index(b"{") :]) for raw in packets]
    assert [len(body.get("items", ())) for body in bodies] == [50, 50, 20, 0, 50, 0]
    assert all(
        item["data"] == {"condition": "offline", "state": "on"}
        for body in bodies
        for item in body.get("items", ())
    )


@pytest.mark.real
@pytest.mark.skipif(find_program("mosquitto") is None, reason="mosquitto is not on this machine")
def test_every_smoke_event_is_in_the_stream(postgres: Postgres, tmp_path: Path) -> None:
    told = alerts.measure(
        postgres.dsn("postgres"), Level.PLAIN, tmp_path, rate=200, events=12, every_s=0.05
    )
    assert told.missing == 0 and len(told.spans) == 12
