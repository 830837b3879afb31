"""A history that is kept from night to night is the one that is read anew; leads, calibration and
backtests on a real database.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from analytics import remedies
from analytics.backtest import BacktestWindow, backtest_detector
from analytics.calibration.report import report_calibration
from analytics.detectors import DETECTORS, unoccupied
from analytics.facts.meters import DEFAULT_BOUNDS
from analytics.history import History
from analytics.leads import LeadTime, list_leads
from analytics.nightly.clock import night_clock
from analytics.nightly.estate import NightRules, RunReport
from analytics.nightly.past import NightSpan, run_nights
from analytics.policy import load_policy
from analytics.visit_list import plan_week
from analytics.wording import LANGUAGES
from domain.calendar import day_of, from_ms
from domain.measures import Supply
from domain.people import PersonKind
from store.analytics import nights
from store.analytics.findings import AbstentionCount
from store.database.connection import Connection
from store.register import places
from tests.analytics.detectors.test_golden import CASES, frame_of, run
from tests.analytics.nightly.test_run import SHANGHAI, START, all_facts, away, put
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
FIRST = day_of(from_ms(START), SHANGHAI)


def played(connection: Connection) -> list[tuple[int, float]]:
    """A home that is lived in for fifty days and left for forty-five, of an estate that is judged
    by its nights.
    """
    register(connection)
    nights.mark_recording(connection, ["es"], as_sent=True)
    rows = away(50, 45)
    for i in range(0, len(rows), 24):
        put(connection, rows[i : i + 24])
    return rows


def run_to(connection: Connection, last: date) -> RunReport:
    """Run the nights of the past up to a day."""
    rules = NightRules(policy=load_policy(), meter_bounds={})
    return run_nights(connection, rules, NightSpan(first=FIRST, last=last))


def test_nights_say_what_was_known_and_only_once(connection: Connection) -> None:
    played(connection)
    policy = load_policy()
    scope, zone = places.estate_ids(connection), SHANGHAI
    last = FIRST + timedelta(days=93)
    report = run_to(connection, FIRST + timedelta(days=70))
    assert report.nights == 71 and report.raised == 0
    report = run_to(connection, last)
    assert report.nights == 23
    time = LeadTime(now=night_clock(last, zone), zone=zone, as_of=last)
    (lead,) = list_leads(connection, policy, scope, time)
    assert lead.kind == "unoccupied" and lead.start_day == FIRST + timedelta(days=50)
    raised = lead.raised_day
    assert timedelta(days=79) <= raised - FIRST <= timedelta(days=81)
    before_it = replace(time, as_of=raised - timedelta(days=1))
    assert list_leads(connection, policy, scope, before_it) == []
    assert set(lead.why) == set(LANGUAGES) and lead.window[1] == last
    before = all_facts(connection)
    assert run_to(connection, last).nights == 0 and all_facts(connection) == before
    week = plan_week(connection, policy, scope, time, visits_wanted=5)
    assert week.visits[0].unit == lead.unit and not week.visits[0].control
    assert report_calibration(connection, scope).hit_rates == ()
    window = BacktestWindow(first=FIRST, last=last, every_days=1)
    backtest = backtest_detector(
        connection, policy, unoccupied.DETECTOR, {"warn_days": 40.0}, scope, window
    )
    assert len(backtest.leads) == 1 and backtest.leads[0].raised_day > raised


def test_a_history_that_grows_is_the_one_that_is_read_anew(connection: Connection) -> None:
    played(connection)
    row = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
    assert row is not None
    units = nights.list_units(connection, row["id"])
    grown = History(units=units, zone=SHANGHAI, window=60)
    for n in (10, 40, 41, 90):
        run_to(connection, FIRST + timedelta(days=n))
        changed_from = FIRST + timedelta(days=max(0, n - 50))
        grown.refresh(connection, FIRST + timedelta(days=n), changed_from=changed_from)
    anew = History(units=units, zone=SHANGHAI, window=60)
    anew.refresh(connection, FIRST + timedelta(days=90))
    a, b = grown.frame(connection), anew.frame(connection)
    shift = (b.first - a.first).days
    assert 0 <= shift <= 31 and a.days - shift == b.days
    for name in b.columns:
        assert np.array_equal(a[name][:, shift:], b[name], equal_nan=True), name
    assert np.array_equal(a.let[:, shift:], b.let)


def test_every_reason_not_to_judge_has_a_remedy() -> None:
    said = {
        a.reason
        for path in CASES
        for a in run(path, frame_of(tomllib.loads(path.read_text("utf-8"))))[1]
    }
    assert len(said) >= 5 and said <= set(remedies.REMEDIES)
    counts = [
        AbstentionCount(detector="a", reason="no_door", units=3),
        AbstentionCount(detector="b", reason="no_door", units=5),
        AbstentionCount(detector="b", reason="no_data", units=4),
    ]
    assert [(needed.reason, needed.units) for needed in remedies.needed_remedies(counts)] == [
        ("no_door", 5),
        ("no_data", 4),
    ]
    assert remedies.remedy_of("no_door")["en"]


def test_detectors_are_named_once_and_read_what_exists() -> None:
    keys = [d.key for d in DETECTORS]
    assert len(set(keys)) == len(keys) and {d.family for d in DETECTORS} == {
        "compliance",
        "hazard",
        "data",
    }
    assert set(DEFAULT_BOUNDS) == {Supply.WATER, Supply.ELECTRICITY} and [
        w.value for w in PersonKind
    ] == [
        0,
        1,
        2,
        3,
    ]
