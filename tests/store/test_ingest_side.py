"""What ingest and analytics keep beside the series: tallies, progress of two workers, quarantine, frames of facts."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from domain.calendar import day_starts_ms
from domain.rejection import Reason, Rejected
from domain.sequence import Progress
from store import facts, ingest_log, quarantine
from store.connect import Connection
from store.ingest_log import Tally
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def test_tallies_add_up_and_know_when_they_do_not(connection: Connection) -> None:
    one = {("es/gw", "readings"): Tally(received=5, stored=3, duplicates=1, quarantined=1)}
    ingest_log.add_tallies(connection, one)
    ingest_log.add_tallies(connection, one)
    (tally,) = ingest_log.read_tallies(connection).values()
    assert (tally.received, tally.stored) == (10, 6) and tally.balanced
    assert not Tally(received=2, stored=1).balanced


def test_two_workers_never_take_each_others_numbers_back(connection: Connection) -> None:
    register(connection)
    row = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert row is not None
    key = (row["id"], "readings", "b1")
    ingest_log.save_progress(connection, {key: Progress(upto=7, also={9, 12})})
    ingest_log.save_progress(connection, {key: Progress(upto=4, also={6, 10})})
    held = ingest_log.load_progress(connection, key)
    assert (held.upto, held.also) == (7, {9, 10, 12})


def test_quarantine_knows_a_resend_and_frees_what_is_replayed(connection: Connection) -> None:
    why = Rejected(reason=Reason.UNKNOWN_DEVICE, detail="no such device \x00 \ud800")
    item = quarantine.Refused(topic="anju/v1/es/gw/up/readings", payload=b"{}\x00\xff", why=why)
    assert quarantine.quarantine(connection, [item, item]) == [True, False]
    assert quarantine.count_open(connection) == {"unknown_device": 1}
    (row,) = quarantine.list_open(connection)
    assert bytes(row["payload"]) == item.payload and "\x00" not in row["detail"]
    assert len(quarantine.take_for_replay(connection, None)) == 1 and quarantine.count_open(connection) == {}
    assert quarantine.quarantine(connection, [item]) == [True]
    assert quarantine.discard(connection, [r["id"] for r in quarantine.list_open(connection)]) == 1


def test_a_frame_has_nan_where_nothing_is_known(connection: Connection) -> None:
    register(connection)
    row = connection.execute("SELECT id FROM units").fetchone()
    assert row is not None
    first = date(2026, 1, 1)
    blank = dict.fromkeys((*facts.NUMBERS, *facts.INSTANTS)) | {"unit_id": row["id"], "faults": [], "energy_cover": 0.0}
    rows = [
        blank
        | {
            "day": first + timedelta(days=d),
            "water_l": float(d),
            "water_cover": 1.0,
            "energy_samples": 0,
            "water_samples": 24,
        }
        for d in (0, 2)
    ]
    facts.save_days(connection, rows, [row["id"]], first, first + timedelta(days=2))
    columns = facts.load_columns(connection, [row["id"]], first, 4)
    assert columns["water_l"][0].tolist()[0] == 0.0 and np.isnan(columns["water_l"][0][[1, 3]]).all()
    assert np.isnan(columns["energy_kwh"]).all() and facts.span_of(connection, [row["id"]]) == (
        first,
        first + timedelta(days=2),
    )
    spans = {row["id"]: (first + timedelta(days=1), first + timedelta(days=1))}
    assert facts.neighbour_days(connection, spans, 4) == {row["id"]: (first, first + timedelta(days=2))}
    assert len(facts.list_unit_days(connection, row["id"], first, first)) == 1
    from zoneinfo import ZoneInfo

    assert len(day_starts_ms(first, 4, ZoneInfo("Asia/Shanghai"))) == 5
