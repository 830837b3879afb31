"""What ingest and analytics keep beside the series.

Tallies, progress of two workers, quarantine, frames of facts.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from domain import sequence
from domain.calendar import day_starts_ms
from domain.rejection import Reason, Rejected
from store.analytics import nights
from store.database.connection import Connection
from store.ingest import latest, log, progress, quarantine
from store.ingest.log import DirtySpans, IngestTally, TallyKey
from store.ingest.progress import ProgressKey
from store.ingest.quarantine import QuarantineFilter
from store.series import dirty_spans, unit_days
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def test_tallies_add_up_and_know_when_they_do_not(connection: Connection) -> None:
    one = {
        TallyKey("es/gw", "readings"): IngestTally(
            received=5, stored=3, duplicates=1, quarantined=1
        )
    }
    log.add_tallies(connection, one)
    log.add_tallies(connection, one)
    (tally,) = log.read_tallies(connection).values()
    assert (tally.received, tally.stored) == (10, 6) and tally.balanced
    assert not IngestTally(received=2, stored=1).balanced


def gateway_id(connection: Connection) -> int:
    row = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert row is not None
    return int(row["id"])


def test_progress_is_the_union_of_what_all_workers_saw(
    connection: Connection, rng: random.Random
) -> None:
    """100 random arrivals at two workers against a plain set.

    What may be acknowledged, and what is missing.
    """
    register(connection)
    model: set[int] = set()
    key = ProgressKey(gateway_id(connection), "readings", "b1")
    for _ in range(100):
        low = rng.randrange(1, 300)
        numbers = [n for n in range(low, low + 20) if rng.random() < 0.8] or [low]
        model |= set(numbers)
        held = progress.note_seen(connection, {key: sequence.runs(numbers)})[key]
        assert held == sequence.runs(model)
    missing = [
        n
        for row in connection.execute("SELECT first_seq, last_seq FROM gaps ORDER BY 1").fetchall()
        for n in range(row["first_seq"], row["last_seq"] + 1)
    ]
    assert missing == sorted(set(range(1, max(model))) - model)
    assert progress.count_gaps(connection) == len(sequence.runs(missing))
    progress.note_seen(connection, {key: [(1, 400)]})
    assert connection.execute("SELECT gap_since FROM gateway_progress").fetchone() == {
        "gap_since": None
    }


def test_a_gateway_that_leaves_too_many_gaps_is_told_nothing_of_what_lies_above(
    connection: Connection,
) -> None:
    register(connection)
    key = ProgressKey(gateway_id(connection), "readings", "b1")
    progress.note_seen(connection, {key: [(n, n + 1) for n in range(1, 20, 2)]}, max_runs=10)
    assert len(progress.note_seen(connection, {key: [(31, 32)]}, max_runs=10)[key]) == 10
    assert progress.note_seen(connection, {key: [(2, 3)]}, max_runs=10)[key][0] == (1, 4)
    assert progress.note_seen(connection, {key: [(31, 32)]}, max_runs=10)[key][-1] == (31, 32)


def test_a_gap_is_due_once_and_again_after_a_while(connection: Connection) -> None:
    register(connection)
    key = ProgressKey(gateway_id(connection), "events", "b1")
    no, day = timedelta(0), timedelta(days=1)
    progress.note_seen(connection, {key: [(1, 3), (5, 6), (9, 10)]})
    connection.commit()
    (gap,) = progress.take_gaps(connection, after=no, again=day, give_up=day)
    assert (gap.estate, gap.gateway, gap.kind, gap.boot, gap.missing) == (
        "es",
        "gw",
        "events",
        "b1",
        [(3, 5), (6, 9)],
    )
    connection.commit()
    assert progress.take_gaps(connection, after=no, again=day, give_up=day) == []
    assert len(progress.take_gaps(connection, after=no, again=no, give_up=day)) == 1
    assert progress.take_gaps(connection, after=no, again=no, give_up=no) == []
    assert progress.count_gaps(connection) == 2


def test_quarantine_knows_a_resend_and_frees_what_is_replayed(connection: Connection) -> None:
    why = Rejected(reason=Reason.UNKNOWN_DEVICE, detail="no such device \x00 \ud800")
    item = quarantine.QuarantinedMessage(
        topic="anju/v1/es/gw/up/readings", payload=b"{}\x00\xff", why=why
    )
    assert quarantine.quarantine(connection, [item, item]) == [True, False]
    assert quarantine.count_open(connection) == {"unknown_device": 1}
    (row,) = quarantine.list_open(connection)
    assert row.payload == item.payload and "\x00" not in row.detail
    assert [
        refusal.id
        for refusal in quarantine.list_whole(
            connection, QuarantineFilter(reason="unknown_device"), after=0
        )
    ] == [row.id]
    assert quarantine.resolve(connection, QuarantineFilter(ids=(row.id,)), "replayed") == 1
    assert quarantine.count_open(connection) == {} and quarantine.quarantine(
        connection, [item]
    ) == [True]
    assert (
        quarantine.resolve(connection, QuarantineFilter(reason="unknown_device"), "discarded") == 1
    )
    assert quarantine.quarantine(connection, [item]) == [False], "what was set aside is known"


def test_nobody_fills_the_quarantine(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "MAX_OPEN", 3)
    why = Rejected(reason=Reason.UNREADABLE, detail="no")
    for n in range(5):
        item = quarantine.QuarantinedMessage(topic="t", payload=b"%d" % n * 70_000, why=why)
        assert quarantine.quarantine(connection, [item]) == [True]
    kept = [
        len(r["payload"]) for r in connection.execute("SELECT payload FROM quarantine ORDER BY id")
    ]
    assert kept == [quarantine.MAX_BYTES] * 3 + [0, 0]
    assert quarantine.list_whole(connection, QuarantineFilter(), after=0) == [], (
        "what is not whole cannot be tried again"
    )


def test_what_changed_goes_to_analytics_by_device(connection: Connection) -> None:
    register(connection)
    row = connection.execute("SELECT id, estate_id FROM devices WHERE code = 'wm-1'").fetchone()
    assert row is not None
    connection.execute("DELETE FROM dirty_spans")
    spans = DirtySpans(
        device=np.array([row["id"], row["id"]]),
        estate=np.array([row["estate_id"]] * 2),
        low=np.array([5000, 1000]),
        high=np.array([6000, 2000]),
        received=np.array([7000, 7000]),
    )
    log.mark_dirty(connection, spans)
    look = dirty_spans.take_dirty_spans(connection, [row["estate_id"]], datetime.now(UTC))
    ids, (unit,) = look.span_ids, look.units
    assert unit.estate_id == row["estate_id"]
    assert (unit.from_at.timestamp(), unit.to_at.timestamp()) == (1.0, 6.0) and len(ids) == 1
    dirty_spans.clear_dirty_spans(connection, ids, datetime.now(UTC))
    assert nights.list_dirty_estates(connection) == []


def test_the_latest_value_is_the_newest_whatever_came_last(connection: Connection) -> None:
    point = np.array([7, 8], dtype=np.int32)
    for at, value in (([2000, 2000], [1.0, 1.0]), ([1000, 3000], [9.0, 9.0])):
        latest.keep_latest(connection, point, np.array(at), np.array(value))
        connection.commit()
    rows = connection.execute("SELECT point_id, value FROM latest_values ORDER BY 1").fetchall()
    assert [r["value"] for r in rows] == [1.0, 9.0]


def test_a_units_latest_values_and_when_its_devices_were_heard(connection: Connection) -> None:
    register(connection)
    row = connection.execute(
        "INSERT INTO points (device_id, name) SELECT id, 'water_m3' FROM devices "
        "WHERE code = 'wm-1' RETURNING id"
    ).fetchone()
    unit = connection.execute("SELECT id FROM units").fetchone()
    assert row is not None and unit is not None
    latest.keep_latest(
        connection,
        np.array([row["id"]], dtype=np.int32),
        np.array([1_700_000_000_000]),
        np.array([5.5]),
    )
    (found,) = latest.list_of_unit(connection, unit["id"])
    assert (found.device, found.point, found.value) == ("wm-1", "water_m3", 5.5)
    heard = {
        device.device: device.heard_at for device in latest.list_heard(connection, (1,), "es", "gw")
    }
    assert heard["wm-1"] == found.at and heard["door-1"] is None
    assert latest.list_heard(connection, (), "es", "gw") == []


def test_a_frame_has_nan_where_nothing_is_known(connection: Connection) -> None:
    register(connection)
    row = connection.execute("SELECT id FROM units").fetchone()
    assert row is not None
    first = date(2026, 1, 1)
    names = (*unit_days.NUMBERS, *unit_days.INSTANTS)
    rows = unit_days.UnitDays(
        unit=np.array([row["id"]] * 2, dtype=np.int32),
        day=np.array(
            [unit_days.day_number(first), unit_days.day_number(first) + 2], dtype=np.int32
        ),
        columns={name: np.array([np.nan, np.nan]) for name in names}
        | {
            "water_l": np.array([0.0, 2.0]),
            "water_cover": np.ones(2),
            "energy_cover": np.zeros(2),
            "water_samples": np.full(2, 24.0),
            "energy_samples": np.zeros(2),
        },
        token_row=np.array([1, 1]),
        token=np.array([16, -8], dtype=np.int64),
        faults=[(0, ["water_reset"])],
    )
    unit_days.save_days(connection, rows, [row["id"]], first, first + timedelta(days=2))
    assert unit_days.load_faults(connection, [row["id"]], first, 4) == [(0, 0, ["water_reset"])]
    assert [c.tolist() for c in unit_days.load_tokens(connection, [row["id"]], first, 4)] == [
        [0, 0],
        [2, 2],
        [-8, 16],
    ]
    columns = unit_days.load_columns(connection, [row["id"]], first, 4)
    assert (
        columns["water_l"][0].tolist()[0] == 0.0 and np.isnan(columns["water_l"][0][[1, 3]]).all()
    )
    assert np.isnan(columns["energy_kwh"]).all() and unit_days.read_day_span(
        connection, [row["id"]]
    ) == (
        first,
        first + timedelta(days=2),
    )
    spans = {row["id"]: (first + timedelta(days=1), first + timedelta(days=1))}
    assert unit_days.widen_to_neighbours(connection, spans, 4) == {
        row["id"]: (first, first + timedelta(days=2))
    }
    assert len(unit_days.list_unit_days(connection, row["id"], first, first)) == 1
    from zoneinfo import ZoneInfo

    assert len(day_starts_ms(first, 4, ZoneInfo("Asia/Shanghai"))) == 5
