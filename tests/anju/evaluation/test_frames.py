"""The evaluation makes its frame in memory.

It must be the one that the store gives for the same register and the same messages.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from analytics.facts.update import FactRules, update_facts
from analytics.frame import UnitDayFrame
from analytics.history import History
from anju.evaluation.frames import SimulatedHome, block_frame, make_homes
from anju.register_files import import_rows
from anju.services import meter_bounds
from domain.calendar import from_ms
from simulators.world.city import PER_BUILDING, ZONE, WorldCity
from simulators.world.traffic import lines, register_rows
from store.database.connection import Connection
from store.database.partitions import Partitions
from store.ingest.ledger import PostgresLedger
from store.series import readings

pytestmark = pytest.mark.real
#: Three buildings, of which one has locks and one a terminal, two of them a gate.
CITY = WorldCity(seed=31, units=3 * PER_BUILDING, first=date(2024, 9, 1), days=50)


def store_all(dsn: str, connection: Connection, homes: list[SimulatedHome]) -> None:
    """Store a city's register and every message of its gateways, as ingest would."""
    assert not import_rows(
        connection, register_rows(CITY, [(home.home, home.metered) for home in homes])
    ).errors
    connection.commit()
    device = {row["code"]: row["id"] for row in connection.execute("SELECT code, id FROM devices")}
    values: list[tuple[int, str, int, float]] = []
    events: list[readings.EventRow] = []
    for begin in range(0, CITY.units, PER_BUILDING):
        block = [(h.home, h.household, h.metered) for h in homes[begin : begin + PER_BUILDING]]
        for line in lines(CITY, block):
            sent = line["payload"]["sent_at"]
            for item in line["payload"]["items"]:
                if "kind" in item:
                    events.append(
                        readings.EventRow(
                            device_id=device[item["device"]],
                            at_ms=item["at"],
                            event_id=item["id"],
                            kind=item["kind"],
                            data=item["data"],
                            received_ms=sent,
                        )
                    )
                else:
                    values += [
                        (device[item["device"]], name, item["at"], v)
                        for name, v in item["values"].items()
                    ]
    ledger = PostgresLedger.open(dsn)
    points = ledger.make_points(sorted({(d, name) for d, name, _, _ in values}))
    ledger.commit()
    ledger.close()
    at = np.array([v[2] for v in values], dtype=np.int64)
    Partitions(connection).cover(connection, from_ms(int(at.min())), from_ms(int(at.max())))
    batch = readings.ReadingColumns(
        at=at,
        point=np.array([points[d, n] for d, n, _, _ in values], dtype=np.int32),
        value=np.array([v[3] for v in values]),
    )
    readings.write_readings(connection, batch)
    readings.write_events(connection, events)
    connection.commit()


def from_store(connection: Connection, names: list[str]) -> UnitDayFrame:
    ids = {row["code"]: row["id"] for row in connection.execute("SELECT code, id FROM units")}
    units = [ids[name] for name in names]
    last = CITY.first + timedelta(days=CITY.days - 1)
    known_at = datetime.combine(last + timedelta(days=60), datetime.min.time(), ZONE)
    # The last hour is read soon after the last midnight.
    span = CITY.first, last + timedelta(days=1)
    rules = FactRules(zone=ZONE, meter_bounds=meter_bounds(None), known_at=known_at)
    update_facts(connection, dict.fromkeys(units, span), rules)
    history = History(units=units, zone=ZONE)
    history.first = CITY.first
    history.refresh(connection, last)
    return history.frame(connection)


def test_the_frame_in_memory_is_the_one_from_the_store(
    any_connection: Connection, any_dsn: str
) -> None:
    fittings = [CITY.fitting(i) for i in range(0, CITY.units, PER_BUILDING)]
    assert {f.lock for f in fittings} == {True, False} == {f.terminal for f in fittings}
    assert sum(CITY.gated(i) for i in range(0, CITY.units, PER_BUILDING)) >= 2
    homes = make_homes(CITY, 0, CITY.units)
    store_all(any_dsn, any_connection, homes)
    stored = from_store(any_connection, [CITY.unit(i) for i in range(CITY.units)])
    mine = block_frame(CITY, homes, meter_bounds(None))
    assert stored.first == mine.first and np.array_equal(stored.day_starts, mine.day_starts)
    for name, column in mine.columns.items():
        differ = ~np.isclose(column, stored[name], rtol=1e-5, atol=1e-3, equal_nan=True)
        assert not differ.any(), (
            name,
            np.argwhere(differ)[:5],
            column[differ][:5],
            stored[name][differ][:5],
        )
    for name in ("let", "declared", "spoken_for", "members", "let_since", "ended"):
        assert np.array_equal(getattr(mine, name), getattr(stored, name), equal_nan=True), name
    for family, mask in mine.fitted.items():
        assert np.array_equal(mask, stored.fitted[family]), family
    assert (mine["cars_seen"] > 0).sum() > 100 and (mine["residents_nights"] > 0).sum() > 500


def test_who_was_seen_is_the_same_in_memory_and_in_the_store(
    any_connection: Connection, any_dsn: str
) -> None:
    homes = make_homes(CITY, 0, CITY.units)
    store_all(any_dsn, any_connection, homes)
    stored = from_store(any_connection, [CITY.unit(i) for i in range(CITY.units)]).tokens
    mine = block_frame(CITY, homes, meter_bounds(None)).tokens

    def people(tokens: Any) -> list[Any]:
        """By unit: what each token is over its days. The hashes differ, what they say does not."""
        found: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
        for unit, day, token, person_kind, night in zip(
            tokens.unit, tokens.day, tokens.token, tokens.person_kind, tokens.night, strict=True
        ):
            found.setdefault((int(unit), int(token)), []).append(
                (int(day), int(person_kind), bool(night))
            )
        return sorted((unit, sorted(days)) for (unit, _), days in found.items())

    assert len(mine.unit) > 2000 and people(mine) == people(stored)
