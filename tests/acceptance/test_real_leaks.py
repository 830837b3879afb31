"""Real meters judged hour by hour with what was known by then: how soon is water that never rests
told?

The same facts and the same detector as by day, without broker and database: a year of forty homes
in seconds.
"""

from __future__ import annotations

import csv
import gzip
from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from analytics.detectors import continuous_flow
from analytics.facts.columns import DoorDays, FactSources, combine
from analytics.facts.meters import MeterBounds, RegisterSeries, registers_to_days
from analytics.frame import UnitDayFrame, no_tokens
from analytics.policy import load_policy
from analytics.unit_frames import UnitFacts, make_frame, with_running_day
from domain.calendar import day_starts_ms
from domain.measures import Supply
from store.register.homes import Homes
from store.series.passages import CarDays, TokenDays
from store.series.unit_days import INSTANTS
from tests.conftest import DATA

WATER = DATA / "water_daiad"
MADRID = ZoneInfo("Europe/Madrid")
FIRST = date(2016, 3, 1)
BOUNDS = MeterBounds(max_rate=2.5, resolution=0.001, rollover=None, expected_interval_s=3600)
HOUR = 3_600_000.0
NONE = np.empty(0, dtype=np.int64)

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not WATER.exists(), reason="the real water meters are not beside the repository"
    ),
]


def instant(text: str, form: str) -> float:
    return datetime.strptime(text, form).replace(tzinfo=MADRID).timestamp() * 1000


def registers(homes: set[str]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Read the registers (ms UTC, m³) of some homes; of two readings of one instant the first
    counts.
    """
    found: dict[str, dict[float, float]] = {home: {} for home in homes}
    with gzip.open(WATER / "readings.csv.gz", "rt") as opened:
        for row in csv.DictReader(opened):
            if row["user_key"] in homes:
                at = instant(row["local_time"], "%d/%m/%Y %H:%M:%S")
                found[row["user_key"]].setdefault(at, float(row["meter_reading_l"]) / 1000)
    return {
        home: (np.array(sorted(of)), np.array([of[at] for at in sorted(of)]))
        for home, of in found.items()
    }


def known_at(at: NDArray[np.float64], value: NDArray[np.float64], clock_ms: float) -> UnitDayFrame:
    """Make one home's frame of what had been read by an instant."""
    clock = datetime.fromtimestamp(clock_ms / 1000, MADRID)
    starts = np.array(
        day_starts_ms(FIRST, (clock.date() - FIRST).days + 1, MADRID), dtype=np.float64
    )
    upto = int(np.searchsorted(at, clock_ms, side="right"))
    register = RegisterSeries(unit_row=0, at=at[:upto], value=value[:upto], bounds=BOUNDS)
    sources = FactSources(
        water=registers_to_days(Supply.WATER, [register], 1, starts),
        energy=registers_to_days(Supply.ELECTRICITY, [], 1, starts),
        people=TokenDays(
            unit=NONE,
            day=NONE,
            person_kind=NONE,
            token=NONE,
            entries=NONE,
            exits=NONE,
            night=NONE,
            lent=NONE,
        ),
        doors=DoorDays(unit=NONE, day=NONE),
        cars=CarDays(unit=NONE, day=NONE, seen=NONE, nights=NONE),
    )
    columns = {
        name: column if name in INSTANTS else column.astype(np.float32)
        for name, column in combine(sources).columns.items()
    }
    facts = UnitFacts(units=[1], first=FIRST, columns=columns, tokens=no_tokens(), faults={})
    homes = Homes(tenancies=[], declarations=[], residents=[], devices=[], told=[])
    return with_running_day(make_frame(facts, homes, MADRID), clock)


def test_leaks_are_told_within_sixty_hours() -> None:
    with (WATER / "continuous_flow_runs.csv").open(encoding="utf-8") as opened:
        truth = list(csv.DictReader(opened))
    policy = load_policy()
    params = policy.params(continuous_flow.DETECTOR)
    of = registers({run["user_key"] for run in truth})
    after: list[int | None] = []
    for run in truth:
        begin, end = (instant(run[k], "%Y-%m-%d %H:%M:%S") for k in ("from", "to"))
        told = None
        for hours in range(48, 100):
            frame = known_at(*of[run["user_key"]], begin + (hours + 0.5) * HOUR)
            found, _ = continuous_flow.detect(frame, params)
            if any(
                f.since_ms < end
                and (f.until_ms or np.inf) > begin
                and policy.tells("continuous_flow", f.score)
                for f in found
            ):
                told = hours
                break
        after.append(told)
    soon = sum(hours is not None and hours <= 60 for hours in after)
    print(f"{soon} of {len(truth)} runs told within 60 hours of their start; hours: {after}")
    assert soon >= 0.95 * len(truth)
