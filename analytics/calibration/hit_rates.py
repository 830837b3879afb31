"""How often visits confirm leads, and how often random visits find what nobody had a lead about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from domain.proportions import Proportion, rate
from store.casework.visits import ControlVisit, FindingOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRate:
    """The share of visits that confirmed a detector, by version, estate and month ("2026-03").

    `hit_rate` is None without visits; `low` and `high` are its 95 % interval (Wilson). Inconclusive
    visits are counted beside it.
    """

    detector: str
    version: str
    estate: str
    month: str
    inconclusive: int
    hits: int
    visits: int
    hit_rate: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MissRate:
    """The share of random control visits that found something without a lead, with its 95 %
    interval.
    """

    hits: int
    visits: int
    miss_rate: float | None
    low: float
    high: float


def is_hit(finding: FindingOutcome) -> bool:
    """Tell whether a visit confirmed a finding: what was found is the detector's own kind."""
    return finding.outcome == "confirmed" and finding.kind == finding.detector


def hit_rates(tested: Sequence[FindingOutcome]) -> list[HitRate]:
    """Return the hit rate of each detector version, estate and month among findings that visits put
    to the test.
    """
    groups: defaultdict[tuple[str, str, str, str], list[FindingOutcome]] = defaultdict(list)
    for finding in tested:
        key = (finding.detector, finding.version, finding.estate, finding.month)
        groups[key].append(finding)
    return [_hit_rate(groups[key]) for key in sorted(groups)]


def miss_rate(controls: Sequence[ControlVisit]) -> MissRate:
    """Return the share of random control visits that found something nobody had a lead about."""
    conclusive = [visit for visit in controls if visit.outcome != "inconclusive"]
    share = rate(sum(visit.outcome == "confirmed" for visit in conclusive), len(conclusive))
    return MissRate(
        hits=share.hits, visits=share.of, miss_rate=share.rate, low=share.low, high=share.high
    )


def _hit_rate(group: Sequence[FindingOutcome]) -> HitRate:
    conclusive = [finding for finding in group if finding.outcome != "inconclusive"]
    share: Proportion = rate(sum(is_hit(finding) for finding in conclusive), len(conclusive))
    return HitRate(
        detector=group[0].detector,
        version=group[0].version,
        estate=group[0].estate,
        month=group[0].month,
        inconclusive=len(group) - len(conclusive),
        hits=share.hits,
        visits=share.of,
        hit_rate=share.rate,
        low=share.low,
        high=share.high,
    )
