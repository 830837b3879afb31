"""What the visits of some estates have taught so far, put together for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analytics import calibration
from store.casework import visits
from store.database.connection import Connection


def lessons(connection: Connection, estates: Sequence[int]) -> dict[str, Any]:
    """Return hit rates by detector version, estate and month, the controls' miss rate, and calibration by detector version."""
    tested = visits.tested(connection, estates)
    miss = calibration.miss_rate(visits.controls(connection, estates))
    calibrations = []
    told = [row for row in tested if row["outcome"] != "inconclusive"]
    for detector, version in sorted({(row["detector"], row["version"]) for row in told}):
        rows = [row for row in told if (row["detector"], row["version"]) == (detector, version)]
        scores = [float(row["score"]) for row in rows]
        hits = [row["outcome"] == "confirmed" and row["kind"] == detector for row in rows]
        error, bins = calibration.calibration(scores, hits)
        proposal = calibration.propose(scores, hits)
        calibrations.append(
            {
                "detector": detector,
                "version": version,
                "visits": len(rows),
                "error": error,
                "bins": bins,
                "proposal": None if proposal is None else asdict(proposal),
            }
        )
    return {
        "hit_rates": calibration.hit_rates(tested),
        "control_visits": {
            "hits": miss.hits,
            "visits": miss.of,
            "miss_rate": miss.rate,
            "low": miss.low,
            "high": miss.high,
        },
        "calibration": calibrations,
    }
