"""A detector rehearsed on days that are past: what it would have raised, how often, and how often visits say that it was right.

It reads facts as they are known now, not as they were known on each day, and stores nothing; `anju nightly --from` is the honest
re-run, this is the quick look before a version or a parameter goes live.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from analytics.detectors.contract import Detector, Finding
from analytics.frame import UnitDayFrame
from analytics.history import FIRST_WINDOW, History
from analytics.nightly.estate import divide_into_blocks
from analytics.parameters import build_params, numbers_of
from analytics.policy import Policy
from analytics.unit_frames import cut_after
from domain.calendar import DAY_MS, day_of, from_ms
from domain.proportions import Proportion, rate
from store.analytics import nights
from store.analytics.findings import DetectorRun
from store.casework import visits
from store.database.connection import Connection
from store.register import places


def rehearse(
    connection: Connection,
    policy: Policy,
    detector: Detector[Any],
    changed: dict[str, float],
    estates: Sequence[int],
    first: date,
    last: date,
    every: int,
) -> dict[str, Any]:
    """Run a detector with changed parameters on every so many days of a window; one lead is one stretch, however often it is said."""
    params = build_params(detector.params_type, {**numbers_of(policy.params(detector)), **changed})
    raised: list[dict[str, Any]] = []
    units_seen = 0
    for estate in nights.list_estates(connection):
        if estate.id not in estates:
            continue
        zone = ZoneInfo(estate.timezone)
        units = nights.list_units(connection, estate.id)
        units_seen += len(units)
        for block in divide_into_blocks(units):
            history = History(units=block, zone=zone, window=FIRST_WINDOW)
            if history.read(connection, last):
                codes = places.unit_codes(connection, block)
                raised += _raised(
                    history.frame(connection),
                    detector,
                    params,
                    policy,
                    (first, last, every),
                    estate.code,
                    codes,
                    zone,
                )
    days = (last - first).days + 1
    labels = _labels(connection, estates, raised, detector.key)
    run = DetectorRun(
        detector=detector.key,
        version=detector.version,
        params=numbers_of(params),
        window_from=first,
        window_to=last,
    )
    return {
        "detector": detector.key,
        "version": detector.version,
        "params_digest": run.params_digest,
        "params": run.params,
        "from": first,
        "to": last,
        "units": units_seen,
        "raised": len(raised),
        "per_day": len(raised) / days,
        "per_1000_units_year": 1000 * 365 * len(raised) / max(1, units_seen) / days,
        "known": {"hits": labels.hits, "visits": labels.of, "low": labels.low, "high": labels.high},
        "leads": sorted(raised, key=lambda row: (row["raised_day"], row["unit"])),
    }


def _raised(
    frame: UnitDayFrame,
    detector: Detector[Any],
    params: Any,
    policy: Policy,
    window: tuple[date, date, int],
    estate: str,
    codes: dict[int, str],
    zone: ZoneInfo,
) -> list[dict[str, Any]]:
    first, last, every = window
    told: dict[int, list[tuple[Finding, dict[str, Any]]]] = {}
    day = first
    while day <= last:
        shown = cut_after(frame, day)
        if shown is not None:
            for f in detector.detect(shown, params)[0]:
                if f.until_ms is not None or not policy.tells(detector.key, f.score):
                    continue
                held = told.setdefault(f.unit, [])
                if not any(abs(g.since_ms - f.since_ms) < 14 * DAY_MS for g, _ in held):
                    row = {
                        "unit_id": f.unit,
                        "unit": codes[f.unit],
                        "estate": estate,
                        "raised_day": day,
                        "score": f.score,
                        "start_day": day_of(from_ms(f.since_ms), zone),
                        "reasons": list(f.reasons),
                    }
                    held.append((f, row))
        day += timedelta(days=every)
    return [row for held in told.values() for _, row in held]


def _labels(
    connection: Connection, estates: Sequence[int], raised: list[dict[str, Any]], kind: str
) -> Proportion:
    """Compare leads with the visits that came after them within half a year."""
    outcomes: dict[int, list[dict[str, Any]]] = {}
    for row in visits.outcomes_of(connection, estates):
        outcomes.setdefault(row["unit_id"], []).append(row)
    hits = of = 0
    for lead in raised:
        after = [
            v
            for v in outcomes.get(lead["unit_id"], [])
            if 0 <= (v["visited_on"] - lead["raised_day"]).days <= 183
        ]
        of += bool(after)
        hits += any(v["outcome"] == "confirmed" and v["kind"] == kind for v in after)
    return rate(hits, of)
