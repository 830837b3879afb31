"""What a block of units is judged by, as it is read from the store at an instant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from analytics.detectors import DETECTORS
from analytics.history import History
from analytics.nightly.load import load_inputs
from domain.calendar import from_ms
from store.analytics import nights
from store.database.connection import Connection
from tests.analytics.nightly.test_run import SHANGHAI, away, put, run
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def test_inputs_are_those_of_the_units_at_an_instant(connection: Connection) -> None:
    register(connection)
    rows = away(20, 60)
    put(connection, rows)
    clock = from_ms(rows[-1][0])
    run(connection, clock)
    (estate,) = nights.list_estates(connection, "es")
    units = nights.list_units(connection, estate.id)
    history = History(units=units, zone=SHANGHAI)
    today = clock.astimezone(SHANGHAI).date()
    assert history.read(connection, today)
    inputs = load_inputs(connection, history, estate_id=estate.id, clock=clock, detectors=DETECTORS)
    assert inputs is not None and inputs.estate_id == estate.id
    frame = inputs.whole_days
    assert frame.day(frame.days - 1) == today - timedelta(days=1)
    assert set(inputs.unit_codes) == set(units) == set(frame.units.tolist())
    assert "unoccupied" in {finding.detector for finding in inputs.findings}
    (alert,) = inputs.alerts["unoccupied"]
    assert alert.is_open and alert.subject == inputs.unit_codes[alert.subject_id]


def test_without_a_whole_day_there_are_no_inputs(connection: Connection) -> None:
    register(connection)
    rows = away(2, 0)
    put(connection, rows)
    run(connection, from_ms(rows[-1][0]))
    (estate,) = nights.list_estates(connection, "es")
    history = History(units=nights.list_units(connection, estate.id), zone=SHANGHAI)
    clock = from_ms(rows[0][0])
    history.refresh(connection, clock.astimezone(SHANGHAI).date())
    inputs = load_inputs(connection, history, estate_id=estate.id, clock=clock, detectors=DETECTORS)
    assert inputs is None
