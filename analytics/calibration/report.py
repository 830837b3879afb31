"""What the visits to some estates say of the detectors so far, put together for people and
programs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analytics.calibration.hit_rates import HitRate, MissRate, hit_rates, is_hit, miss_rate
from analytics.calibration.scores import (
    CalibrationProposal,
    ScoreBin,
    bins_as_json,
    compare_scores,
    propose_calibration,
)
from store.casework import visits
from store.casework.visits import FindingOutcome
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCalibration:
    """How far a detector version's scores are off over its conclusive visits, and what would better
    them.
    """

    detector: str
    version: str
    visits: int
    error: float
    bins: tuple[ScoreBin, ...]
    proposal: CalibrationProposal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """Hit rates, the miss rate of random control visits, and the calibration of each detector
    version.
    """

    hit_rates: tuple[HitRate, ...]
    control_visits: MissRate
    calibration: tuple[DetectorCalibration, ...]


def report_calibration(connection: Connection, estates: Sequence[int]) -> CalibrationReport:
    """Return what visits to estates, by id, say of the detectors."""
    tested = visits.list_finding_outcomes(connection, estates)
    by_version: defaultdict[tuple[str, str], list[FindingOutcome]] = defaultdict(list)
    for finding in tested:
        if finding.outcome != "inconclusive":
            by_version[finding.detector, finding.version].append(finding)
    return CalibrationReport(
        hit_rates=tuple(hit_rates(tested)),
        control_visits=miss_rate(visits.list_control_visits(connection, estates)),
        calibration=tuple(_calibration_of(by_version[key]) for key in sorted(by_version)),
    )


def report_as_json(report: CalibrationReport) -> dict[str, Any]:
    """Return a report as JSON values."""
    return {
        **asdict(report),
        "calibration": [
            {**asdict(detector), "bins": bins_as_json(detector.bins)}
            for detector in report.calibration
        ],
    }


def _calibration_of(tested: Sequence[FindingOutcome]) -> DetectorCalibration:
    scores = [finding.score for finding in tested]
    hits = [is_hit(finding) for finding in tested]
    compared = compare_scores(scores, hits)
    return DetectorCalibration(
        detector=tested[0].detector,
        version=tested[0].version,
        visits=len(tested),
        error=compared.error,
        bins=compared.bins,
        proposal=propose_calibration(scores, hits),
    )
