"""Gaps are asked for when they have been open for a while, by their numbers, and stay on record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.gaps import GapLimits, ask_for_gaps
from store.database.connection import Connection
from store.ingest import progress
from store.ingest.progress import ProgressKey
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def test_a_gateway_is_asked_for_what_is_missing(connection: Connection) -> None:
    register(connection)
    row = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert row is not None
    progress.note_seen(connection, {ProgressKey(row["id"], "readings", "b1"): [(2, 4), (9, 10)]})
    connection.commit()
    sent: list[tuple[str, Any]] = []

    def ask(after_s: float = 0.0, again_s: float = 60.0) -> int:
        return ask_for_gaps(
            connection,
            lambda topic, payload: sent.append((topic, json.loads(payload))),
            GapLimits(after_s=after_s, again_s=again_s, give_up_s=3600),
        )

    assert ask(after_s=60.0) == 0, "it may still be on its way"
    assert ask() == 1 and ask() == 0 and ask(again_s=0.0) == 1
    topic, body = sent[0]
    assert topic == "anju/v1/es/gw/down/backfill"
    assert body == {"v": 1, "kind": "readings", "boot": "b1", "missing": [1, 4, 5, 6, 7, 8]}
    progress.note_seen(connection, {ProgressKey(row["id"], "readings", "b1"): [(1, 9)]})
    assert ask(again_s=0.0) == 0 and progress.count_gaps(connection) == 0
