"""Every golden case of every detector: what it must find, what it must leave alone, what it must
not judge.

A case is a TOML file in `golden/<detector>/`: spans of days with what is known of them, and what is
expected. Adding a case is adding a file.
"""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.detectors import DETECTORS, continuous_flow, unoccupied
from analytics.detectors.contract import Abstention, Detector, Finding
from analytics.frame import OutsideReport, Tokens, UnitDayFrame, in_order
from analytics.history import COLUMNS
from analytics.leads import ExplainedLead
from analytics.policy import load_policy
from analytics.wording import LANGUAGES
from domain.calendar import DAY_MS, from_ms
from store.series.unit_days import INSTANTS, NUMBERS

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*/*.toml"))
START = 1_700_006_400_000.0
HOUR = 3_600_000.0


def frame_of(case: dict[str, Any], units: int = 1) -> UnitDayFrame:
    days = sum(span["days"] for span in case["spans"])
    columns = {name: np.full((units, days), np.nan) for name in (*NUMBERS, *INSTANTS)}
    for name in ("water_cover", "energy_cover", "water_samples", "energy_samples"):
        columns[name][:] = 0.0
    starts = START + DAY_MS * np.arange(days + 1)
    d = 0
    for span in case["spans"]:
        for i in range(span["days"]):
            if i % span.get("every", 1) == 0:
                fill_day(columns, d, starts, span)
            d += 1
    let = np.full((units, days), case.get("let", True))
    ended = np.full((units, days), np.nan, dtype=np.float32)
    if "ended_day" in case:
        let[:, case["ended_day"] + 1 :] = False
        ended[:, case["ended_day"] + 1 :] = case["ended_day"]
    declared, spoken_for = np.zeros((units, days), dtype=bool), np.zeros((units, days), dtype=bool)
    if "declared" in case:
        declared[:, slice(*case["declared"])] = True
    if "spoken_for" in case:
        spoken_for[:, slice(*case["spoken_for"])] = True
    fitted = case.get("fitted", ["water", "energy", "door", "lock"])
    return UnitDayFrame(
        units=np.arange(1, units + 1, dtype=np.int32),
        first=date(2023, 11, 15),
        day_starts=starts,
        columns={name: columns[name] for name in COLUMNS},
        let=let,
        declared=declared,
        spoken_for=spoken_for,
        let_since=np.full((units, days), -400.0, dtype=np.float32),
        ended=ended,
        members=np.full((units, days), 2.0, dtype=np.float32),
        fitted={
            name: np.full((units, days), name in fitted)
            for name in ("water", "energy", "door", "lock")
        },
        tokens=tokens_of(case, units),
        reports=tuple(
            OutsideReport(unit=u, **told) for u in range(units) for told in case.get("told", [])
        ),
    )


def tokens_of(case: dict[str, Any], units: int) -> Tokens:
    """List who was seen: the strangers that a span names, and `people` residents on each day on
    which one was seen.
    """
    rows, d = [], 0
    for span in case["spans"]:
        for i in range(span["days"]):
            for t in span.get("tokens", []):
                if i % t["every"] == 0:
                    rows += [(u, d, t["token"], t["who"], t["night"]) for u in range(units)]
            if span.get("residents_seen", span.get("entries", 0)):
                rows += [
                    (u, d, 1000 + n, 0, True)
                    for n in range(case.get("people", 2))
                    for u in range(units)
                ]
            d += 1
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    return in_order(
        table[:, 0], table[:, 1], table[:, 2] * 8, table[:, 3].astype(np.int8), table[:, 4] == 1
    )


def fill_day(columns: dict[str, Any], d: int, starts: Any, span: dict[str, Any]) -> None:
    water = span.get("water")
    if water:
        columns["water_cover"][:, d] = 1.0
        columns["water_samples"][:, d] = 1 if water == "daily" else 24
        columns["water_trickle_l"][:, d] = span.get("trickle_l", 0.0)
        litres = {
            "used": 150.0,
            "quiet": span.get("trickle_l", 0.0),
            "flows": 400.0,
            "daily": 150.0,
            "tap": 30.0,
            "by_day": 60.0,
        }
        columns["water_l"][:, d] = litres[water]
        if water != "daily":
            columns["water_hours_known"][:, d] = 24.0
            columns["water_hours"][:, d] = {
                "used": 12.0,
                "quiet": 0.0,
                "flows": 24.0,
                "tap": 1.0,
                "by_day": 6.0,
            }[water]
        columns["water_least_l_h"][:, d] = {"flows": 9.0, "daily": np.nan}.get(water, 0.0)
    if water in ("used", "flows", "daily", "tap", "by_day"):
        first, last = {"used": (6, 22), "tap": (14, 15), "by_day": (9, 18)}.get(water, (0, 24))
        columns["water_first_use_at"][:, d] = starts[d] + first * HOUR
        columns["water_last_use_at"][:, d] = starts[d] + last * HOUR
    if water in ("used", "quiet", "tap", "by_day"):
        columns["water_first_still_at"][:, d] = starts[d]
        columns["water_last_still_at"][:, d] = starts[d + 1]
    if "kwh" in span:
        columns["energy_cover"][:, d] = 1.0
        columns["energy_samples"][:, d] = 24
        columns["energy_kwh"][:, d] = span["kwh"]
    if "cars" in span:
        columns["cars_seen"][:, d] = columns["cars_nights"][:, d] = span["cars"]
    if "entries" in span:
        columns["entries"][:, d] = span["entries"]
        columns["residents_seen"][:, d] = min(1, span["entries"])
        columns["residents_nights"][:, d] = min(1, span["entries"])
        columns["strangers_nights"][:, d] = len(span.get("tokens", []))
    for name in span.keys() & set(NUMBERS):
        columns[name][:, d] = span[name]


def run(path: Path, frame: UnitDayFrame) -> tuple[list[Finding], list[Abstention]]:
    detector = next(d for d in DETECTORS if d.key == path.parent.name)
    return detector.detect(frame, detector.params_type())


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_golden(path: Path) -> None:
    case = tomllib.loads(path.read_text("utf-8"))
    found, abstained = run(path, frame_of(case))
    expected = case.get("findings", [])
    assert len(found) == len(expected), (case["about"], found)
    for finding, want in zip(found, expected, strict=True):
        assert abs((finding.since_ms - START) / DAY_MS - want["since_day"]) <= 1, finding
        if "until_day" in want:
            assert (
                finding.until_ms is not None
                and abs((finding.until_ms - START) / DAY_MS - want["until_day"]) <= 1
            )
        else:
            assert finding.until_ms is None
        assert finding.frozen is want.get("frozen", False)
        assert list(finding.reasons) == want["reasons"]
        assert 0 < finding.score < 1 and finding.evidence
        assert finding.score <= case.get("expect_none_above", 1.0)
        if finding.since_between is not None:
            assert finding.since_between[0] <= finding.since_ms <= finding.since_between[1]
    assert sorted({a.reason for a in abstained}) == sorted(case.get("abstentions", []))
    for a in abstained:
        assert 0 <= a.first <= a.last < frame_of(case).days


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_unit_is_judged_alike_among_others_and_twice(path: Path) -> None:
    """Purity: a verdict depends on its unit alone, and changes neither frame nor later runs."""
    case = tomllib.loads(path.read_text("utf-8"))
    alone, many = frame_of(case), frame_of(case, units=3)
    before = {name: column.copy() for name, column in many.columns.items()}
    first, again = run(path, many), run(path, many)
    assert first == again
    for name, column in many.columns.items():
        assert np.array_equal(column, before[name], equal_nan=True)
    assert [f for f in first[0] if f.unit == 1] == run(path, alone)[0]


def test_nothing_known_finds_nothing() -> None:
    frame = frame_of({"spans": [{"days": 120}]})
    detectors: tuple[Detector[Any], ...] = (unoccupied.DETECTOR, continuous_flow.DETECTOR)
    for detector in detectors:
        found, _ = detector.detect(frame, detector.params_type())
        assert found == []


POLICY = load_policy()


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_finding_can_be_said_in_both_languages(path: Path) -> None:
    """Each reason has its clause, and each clause the numbers that it names."""
    found, _ = run(path, frame_of(tomllib.loads(path.read_text("utf-8"))))
    for f in found:
        lead = ExplainedLead(
            detector=path.parent.name,
            evidence=f.evidence,
            reasons=f.reasons,
            timezone="Asia/Shanghai",
            subject="u-1",
            since_at=from_ms(f.since_ms),
        )
        for language in LANGUAGES:
            text = POLICY.sentence(lead, language)
            assert text and "{" not in text
            assert text.count("；" if language == "zh" else "; ") >= len(f.reasons) - 1, (
                text,
                f.reasons,
            )
        assert POLICY.for_finding(path.parent.name, {**f.evidence, "score": f.score})
