"""The nightly run on a real database: late data recomputes only what it touches, and ends where
computing from nothing ends.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from psycopg.types.json import Jsonb

from analytics.nightly.estate import NightRules, RunReport
from analytics.nightly.run import run_all
from analytics.policy import load_policy
from anju.register_files import import_rows
from domain.calendar import from_ms
from store.alerts.changes import list_changes
from store.database.connection import Connection
from store.database.partitions import Partitions
from store.ingest import log
from store.ingest.log import DirtySpans
from store.series import dirty_spans, readings
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
HOUR = 3_600_000
START = 1_760_000_400_000
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def point(connection: Connection, device: str = "wm-1", name: str = "water_m3") -> tuple[int, int]:
    row = connection.execute(
        "INSERT INTO points (device_id, name) SELECT id, %s FROM devices WHERE code = %s "
        "ON CONFLICT (device_id, name) DO UPDATE SET name = excluded.name RETURNING id, device_id",
        [name, device],
    ).fetchone()
    assert row is not None
    return row["id"], row["device_id"]


def put(
    connection: Connection,
    rows: list[tuple[int, float]],
    device: str = "wm-1",
    name: str = "water_m3",
) -> None:
    """Store readings as ingest does, and mark what they touch."""
    point_id, device_id = point(connection, device, name)
    at = np.array([t for t, _ in rows], dtype=np.int64)
    partitions = Partitions(connection)
    connection.commit()
    partitions.cover(connection, from_ms(int(at.min())), from_ms(int(at.max())))
    readings.write_readings(
        connection,
        readings.ReadingColumns(
            at=at,
            point=np.full(len(rows), point_id, dtype=np.int32),
            value=np.array([v for _, v in rows]),
        ),
        merge=True,
    )
    dirty(connection, device_id, int(at.min()), int(at.max()))
    connection.commit()


def dirty(connection: Connection, device_id: int, low: int, high: int) -> None:
    row = connection.execute("SELECT estate_id FROM devices WHERE id = %s", [device_id]).fetchone()
    assert row is not None
    spans = {
        "device": device_id,
        "estate": row["estate_id"],
        "low": low,
        "high": high,
        "received": high,
    }
    log.mark_dirty(
        connection, DirtySpans(**{name: np.array([value]) for name, value in spans.items()})
    )


def run(connection: Connection, now: datetime = NOW) -> RunReport:
    rules = NightRules(policy=load_policy(), meter_bounds={})
    return run_all(connection, rules, now)


def all_facts(connection: Connection) -> list[tuple[object, ...]]:
    rows = connection.execute("SELECT * FROM unit_days ORDER BY unit_id, day").fetchall()
    return [tuple(v for k, v in row.items() if k != "computed_at") for row in rows]


def meter(rng: random.Random, hours: int) -> list[tuple[int, float]]:
    """A meter with all that happens to meters: quiet weeks, gaps, a reset, misreadings, jitter."""
    rows, value, at = [], 100.0, START
    quiet_from = rng.randrange(hours)
    for h in range(hours):
        at += HOUR if rng.random() < 0.97 else HOUR * rng.randrange(2, 120)
        if not quiet_from <= h < quiet_from + 900:
            value += rng.choice([0, 0, 0.001, 0.02, 0.4])
        if rng.random() < 0.003:
            value = 0.0
        shown = value + (rng.choice([-3.0, 250.0]) if rng.random() < 0.004 else 0.0)
        rows.append((at, round(max(0.0, shown), 3)))
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_incremental_facts_are_those_computed_from_nothing(
    any_connection: Connection, seed: int
) -> None:
    rng = random.Random(seed)
    register(any_connection)
    rows = meter(rng, 1500)
    arrivals = [rows[i : i + 150] for i in range(0, len(rows), 150)]
    late = [rows[i] for i in sorted(rng.sample(range(len(rows)), 60))]
    withheld = set(late)
    for batch in arrivals:
        kept = [row for row in batch if row not in withheld]
        if kept:
            put(any_connection, kept)
        run(any_connection)
    for i in range(0, len(late), 7):
        put(any_connection, late[i : i + 7])
        run(any_connection)
    incremental = all_facts(any_connection)
    raised = any_connection.execute(
        "SELECT count(*) AS n FROM alerts WHERE ended_at IS NULL"
    ).fetchone()
    any_connection.execute("DELETE FROM unit_days")
    dirty(any_connection, point(any_connection)[1], rows[0][0], rows[-1][0])
    run(any_connection)
    assert all_facts(any_connection) == incremental
    assert (
        any_connection.execute("SELECT count(*) AS n FROM alerts WHERE ended_at IS NULL").fetchone()
        == raised
    )
    assert len(incremental) > 50


def away(days_used: int, days_away: int) -> list[tuple[int, float]]:
    rows, value = [], 10.0
    for h in range((days_used + days_away) * 24):
        value += 0.02 if h < days_used * 24 and 6 <= h % 24 <= 22 else 0.0
        rows.append((START + h * HOUR, round(value, 3)))
    return rows


def leads(connection: Connection) -> list[dict[str, object]]:
    return connection.execute(
        "SELECT * FROM alerts WHERE detector = 'unoccupied' ORDER BY since_at"
    ).fetchall()


def test_a_lead_rises_lasts_ends_and_is_never_doubled(connection: Connection) -> None:
    register(connection)
    rows = away(20, 60)
    put(connection, rows[: 20 * 24 + 25 * 24])
    run(connection, from_ms(rows[45 * 24 - 1][0]))
    assert leads(connection) == []
    put(connection, rows[45 * 24 : 55 * 24])
    assert run(connection, from_ms(rows[55 * 24 - 1][0])).raised == 1
    put(connection, rows[55 * 24 :])
    run(connection, from_ms(rows[-1][0]))
    run(connection, from_ms(rows[-1][0]))
    held = leads(connection)
    assert len(held) == 1 and held[0]["condition"] == "active"
    back = [(rows[-1][0] + HOUR * (i + 1), round(rows[-1][1] + 0.02 * i, 3)) for i in range(72)]
    put(connection, back)
    run(connection, from_ms(back[-1][0]))
    held = leads(connection)
    assert len(held) == 1 and held[0]["ended_at"] is not None and held[0]["condition"] == "returned"
    steps = [change.step for change in list_changes(connection, int(str(held[0]["id"])))]
    assert steps == ["raised", "returned"]


def test_late_data_takes_a_lead_back(connection: Connection) -> None:
    """A gateway's backlog shows that someone was there: the lead is withdrawn for good."""
    register(connection)
    rows = away(20, 60)
    put(
        connection, [row for i, row in enumerate(rows) if not 40 * 24 <= i < 60 * 24 or i % 24 == 0]
    )
    run(connection, from_ms(rows[-1][0]))
    assert len([r for r in leads(connection) if r["ended_at"] is None]) == 1
    shift = [
        (START + h * HOUR + HOUR // 2, round(rows[h][1] + 0.05 * (h % 2), 3))
        for h in range(50 * 24, 50 * 24 + 4)
    ]
    put(connection, [(at, value + 0.05 * i) for i, (at, value) in enumerate(shift)])
    connection.execute(
        "UPDATE readings SET value = value + 0.4 WHERE at > %s", [from_ms(shift[-1][0])]
    )
    dirty(connection, point(connection)[1], shift[0][0], rows[-1][0])
    run(connection, from_ms(rows[-1][0]))
    open_now = [r for r in leads(connection) if r["ended_at"] is None]
    assert len(open_now) <= 1 and all(r["since_at"] > from_ms(shift[0][0]) for r in open_now)  # type: ignore[operator]


def test_silence_freezes_a_lead_and_is_an_abstention(connection: Connection) -> None:
    register(connection)
    rows = away(20, 40)
    put(connection, rows)
    run(connection, from_ms(rows[-1][0]))
    run(connection, from_ms(rows[-1][0] + 20 * 24 * HOUR))
    held = leads(connection)
    assert (
        len(held) == 1 and held[0]["condition"] == "not_evaluable" and held[0]["ended_at"] is None
    )
    reasons = connection.execute(
        "SELECT reason FROM abstentions WHERE detector = 'unoccupied' AND superseded_at IS NULL"
    ).fetchall()
    assert [r["reason"] for r in reasons] == ["no_data"]


def test_a_door_whose_battery_is_heard_has_seen_nobody(any_connection: Connection) -> None:
    """Nought entries where the door told its battery, nothing known where it told nothing."""
    register(any_connection)
    any_connection.execute(
        "INSERT INTO mounts (code, device_id, unit_id, valid_from) "
        "SELECT 'm-door', d.id, u.id, '2020-01-01' FROM devices d, units u "
        "WHERE d.code = 'door-1' AND u.code = 'u-1'"
    )
    days = [START + n * 24 * HOUR for n in (0, 1, 4)]
    put(any_connection, [(at, 80.0) for at in days], "door-1", "battery_pct")
    run(any_connection)
    rows = any_connection.execute(
        "SELECT day, entries FROM unit_days WHERE entries IS NOT NULL ORDER BY day"
    ).fetchall()
    assert {row["day"] for row in rows} == {from_ms(at).astimezone(SHANGHAI).date() for at in days}
    assert all(row["entries"] == 0 for row in rows)


def test_a_swapped_meter_is_a_new_register(connection: Connection) -> None:
    register(connection)
    rows = away(10, 0)
    put(connection, rows)
    connection.execute(
        "UPDATE mounts SET valid_to = %s WHERE code = 'm-1'", [from_ms(rows[-1][0] + 1)]
    )
    connection.execute(
        "INSERT INTO devices (estate_id, code, kind, profile) "
        "SELECT id, 'wm-1b', 'water_meter', 'x' FROM estates WHERE code = 'es'"
    )
    connection.execute(
        "INSERT INTO mounts (code, device_id, unit_id, valid_from) "
        "SELECT 'm-1b', d.id, u.id, %s FROM devices d, units u "
        "WHERE d.code = 'wm-1b' AND u.code = 'u-1'",
        [from_ms(rows[-1][0] + 1)],
    )
    row = connection.execute(
        "INSERT INTO points (device_id, name) SELECT id, 'water_m3' FROM devices "
        "WHERE code = 'wm-1b' RETURNING id, device_id"
    ).fetchone()
    assert row is not None
    at = rows[-1][0] + HOUR * np.arange(1, 73, dtype=np.int64)
    Partitions(connection).cover(connection, from_ms(int(at[0])), from_ms(int(at[-1])))
    readings.write_readings(
        connection,
        readings.ReadingColumns(
            at=at,
            point=np.full(72, row["id"], dtype=np.int32),
            value=np.round(0.01 * np.arange(72), 3),
        ),
    )
    dirty(connection, row["device_id"], int(at[0]), int(at[-1]))
    run(connection)
    total = connection.execute(
        "SELECT sum(water_l) AS l, max(water_l) AS most FROM unit_days"
    ).fetchone()
    assert (
        total is not None
        and abs(total["l"] - ((rows[-1][1] - rows[0][1]) + 0.71) * 1000) < 0.5
        and total["most"] < 500
    )
    assert dirty_spans.is_settled(connection)
    assert SHANGHAI.key == "Asia/Shanghai"


def test_a_mount_registered_after_its_device_has_spoken_brings_its_past(
    connection: Connection,
) -> None:
    register(connection)
    connection.execute("DELETE FROM mounts")
    rows = away(10, 35)
    put(connection, rows)
    run(connection, from_ms(rows[-1][0]))
    assert all_facts(connection) == [] and not leads(connection)
    connection.execute(
        "INSERT INTO mounts (code, device_id, unit_id, valid_from) "
        "SELECT 'm-late', d.id, u.id, '2020-01-01' FROM devices d, units u "
        "WHERE d.code = 'wm-1' AND u.code = 'u-1'"
    )
    connection.commit()
    run(connection, from_ms(rows[-1][0]))
    assert len(all_facts(connection)) >= 45 and len(leads(connection)) == 1


def test_mounts_that_reach_beyond_the_night_are_taken_once_a_night(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered today, they reach to today: a night of the past leaves their rest, and goes on."""
    monkeypatch.setattr(dirty_spans, "SPANS_PER_LOOK", 1)
    register(connection)
    put(connection, away(20, 0))
    for _ in range(3):
        connection.execute("UPDATE mounts SET valid_from = valid_from")
    connection.commit()
    run(connection, now=from_ms(START + 15 * 24 * HOUR))
    row = connection.execute(
        "SELECT count(*) AS n FROM dirty_spans WHERE received_at = '-infinity'"
    ).fetchone()
    assert row is not None and row["n"] >= 3
    assert all_facts(connection)


def test_what_gates_see_of_a_households_cars(any_connection: Connection) -> None:
    """Two gates: one of the estate, one of another building's yard.

    A day counts where the unit's own gates all reported something.
    """
    register(any_connection)
    sheets = {
        "buildings": [{"estate": "es", "code": "b9", "name": "b9"}],
        "vehicles": [{"code": "n-1", "household": "h-1", "valid_from": "2020-01-01"}],
        "devices": [
            {"estate": "es", "code": code, "kind": "gate", "profile": "camera"}
            for code in ("gate-1", "gate-9")
        ],
        "mounts": [
            {
                "code": "m-g1",
                "estate": "es",
                "device": "gate-1",
                "building": "",
                "valid_from": "2020-01-01",
            },
            {
                "code": "m-g9",
                "estate": "es",
                "device": "gate-9",
                "building": "b9",
                "valid_from": "2020-01-01",
            },
        ],
    }
    assert not import_rows(any_connection, sheets).errors
    # Day 0: out in the morning, in at night. Day 1: another's car only. Day 2: nothing.
    # Day 3: ours, at the yard that is not its own.
    passes = [
        (0, 7.5, "gate-1", "n-1", "out"),
        (0, 21.0, "gate-1", "n-1", "in"),
        (1, 12.0, "gate-1", "n-7", "in"),
        (3, 9.0, "gate-9", "n-1", "in"),
    ]
    midnight = int(datetime(2026, 3, 2, tzinfo=SHANGHAI).timestamp() * 1000)
    any_connection.commit()
    Partitions(any_connection).cover(
        any_connection, from_ms(midnight), from_ms(midnight + 96 * HOUR)
    )
    for n, (day, hour, gate, plate, direction) in enumerate(passes):
        at = midnight + day * 24 * HOUR + int(hour * HOUR)
        any_connection.execute(
            "INSERT INTO events (at, device_id, event_id, kind, data, recorded_at) "
            "SELECT %s, d.id, %s, 'plate', %s, %s FROM devices d WHERE d.code = %s",
            [
                from_ms(at),
                f"e-{n}",
                Jsonb({"plate": plate, "direction": direction}),
                from_ms(at),
                gate,
            ],
        )
        row = any_connection.execute("SELECT id FROM devices WHERE code = %s", [gate]).fetchone()
        assert row is not None
        dirty(any_connection, row["id"], at, at)
    run(any_connection)
    rows = any_connection.execute(
        "SELECT day, cars_seen, cars_nights FROM unit_days ORDER BY day"
    ).fetchall()
    first = from_ms(midnight).astimezone(SHANGHAI).date()
    assert [((row["day"] - first).days, row["cars_seen"], row["cars_nights"]) for row in rows] == [
        (0, 1, 1),
        (1, 0, 0),
    ]


def test_a_leak_is_found_while_its_third_day_lasts(connection: Connection) -> None:
    """Two months of ordinary days, then a tap that never rests from ten in the evening.

    It is reported within sixty hours, by day.
    """
    register(connection)
    midnight = int(datetime(2026, 3, 2, tzinfo=SHANGHAI).timestamp() * 1000)
    rows, value = [], 10.0
    began = midnight + 60 * 24 * HOUR + 22 * HOUR
    for h in range(60 * 24 + 22 + 60):
        hour = h % 24
        value += 0.02 if 6 <= hour < 23 and hour % 2 else 0.0
        value += 0.004 if midnight + h * HOUR >= began else 0.0
        rows.append((midnight + (h + 1) * HOUR, round(value, 3)))
    put(connection, [row for row in rows if row[0] <= began])
    run(connection, from_ms(began))
    told = None
    for after in range(1, 60):
        put(
            connection,
            [row for row in rows if began + (after - 1) * HOUR < row[0] <= began + after * HOUR],
        )
        run(connection, from_ms(began + after * HOUR + 300_000))
        found = connection.execute(
            "SELECT since_at, until_at, condition FROM alerts WHERE detector = 'continuous_flow'"
        ).fetchall()
        if found:
            told = after
            break
    assert told is not None and 47 <= told <= 52, told
    (alert,) = found
    assert (
        abs((alert["since_at"] - from_ms(began)).total_seconds()) <= 3600
        and alert["until_at"] is None
    )
    assert alert["condition"] == "active"
    # It goes on into the night's own hours, and it is the same alert.
    run(connection, from_ms(midnight + 63 * 24 * HOUR + 5 * HOUR))
    assert (
        len(
            connection.execute(
                "SELECT id FROM alerts WHERE detector = 'continuous_flow'"
            ).fetchall()
        )
        == 1
    )
