"""Leads as people and programs read them: what stands on a day, why in one paragraph, what could
not be judged and what would cure it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from analytics.detectors import DETECTORS
from analytics.fusion import BASE_RATE
from analytics.nightly.clock import last_whole_day, night_clock
from analytics.policy import Policy
from analytics.remedies import remedy_of
from analytics.visit_list import VisitList, make_visit_list
from analytics.wording import LANGUAGES
from store.analytics import findings
from store.analytics.findings import StandingFinding
from store.casework import visits
from store.database.connection import Connection

#: What a visit can confirm: the kinds of compliance. Those of them that the register itself tells
#: need no visit.
KINDS: tuple[str, ...] = tuple(d.key for d in DETECTORS if d.family == "compliance")
FROM_THE_DESK = frozenset({"unlet_too_long", "exit_warning"})


def check_kind(outcome: str, kind: str | None) -> None:
    """Check that a confirmed visit, and no other, names what it confirmed. Raises: ValueError."""
    if (outcome == "confirmed") != (kind is not None) or (kind is not None and kind not in KINDS):
        raise ValueError(f"a confirmed visit, and no other, names one of {', '.join(KINDS)}")


def standing(
    connection: Connection,
    policy: Policy,
    estates: Sequence[int],
    as_of: date | None,
    now: datetime,
    zone: ZoneInfo,
) -> list[dict[str, Any]]:
    """List the leads that stood after the night of a day, or stand now, the likeliest first."""
    clock = now if as_of is None else night_clock(as_of, zone)
    return [
        describe(policy, row) for row in findings.list_standing(connection, estates, KINDS, clock)
    ]


def abstained(
    connection: Connection,
    estates: Sequence[int],
    as_of: date | None,
    now: datetime,
    zone: ZoneInfo,
) -> list[dict[str, Any]]:
    """List what could not be judged on a day, each with what would remedy it."""
    clock = now if as_of is None else night_clock(as_of, zone)
    on = last_whole_day(clock, zone)
    return [
        {
            "unit": row.unit,
            "estate": row.estate,
            "kind": row.detector,
            "reason": row.reason,
            "from_day": row.from_day.isoformat(),
            "to_day": row.to_day.isoformat(),
            "remedy": remedy_of(row.reason),
        }
        for row in findings.list_known_abstentions(connection, estates, clock, on)
    ]


def week(
    connection: Connection,
    policy: Policy,
    estates: Sequence[int],
    count: int,
    as_of: date | None,
    now: datetime,
    zone: ZoneInfo,
) -> VisitList:
    """Choose the homes to visit; the same week draws the same random controls."""
    on = as_of or last_whole_day(now, zone)
    leads = [
        row
        for row in standing(connection, policy, estates, as_of, now, zone)
        if row["kind"] not in FROM_THE_DESK
    ]
    seed = on.isocalendar().year * 100 + on.isocalendar().week
    return make_visit_list(
        leads,
        visits.list_let_homes(connection, estates, on),
        visits=count,
        base_rate=BASE_RATE,
        seed=seed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedLead:
    """What the sentence about a lead is made of."""

    detector: str
    subject: str
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    since_at: datetime
    timezone: str


def describe(policy: Policy, finding: StandingFinding) -> dict[str, Any]:
    """Turn a finding's row into a lead: days are the estate's own, `raised_day` the last whole day
    known when it was first told.
    """
    assert finding.raised_at is not None, "only findings that were shown are leads"
    zone = ZoneInfo(finding.timezone)

    def day(at: datetime | None) -> str | None:
        return None if at is None else at.astimezone(zone).date().isoformat()

    explained = ExplainedLead(
        detector=finding.detector,
        subject=finding.unit,
        reasons=finding.reasons,
        evidence=finding.evidence,
        since_at=finding.since_at,
        timezone=finding.timezone,
    )
    return {
        "unit": finding.unit,
        "unit_id": finding.unit_id,
        "estate": finding.estate,
        "kind": finding.detector,
        "score": round(float(finding.score), 3),
        "start_day": day(finding.since_at),
        "start_low": day(finding.since_low_at),
        "start_high": day(finding.since_high_at - timedelta(milliseconds=1)),
        "raised_day": last_whole_day(finding.raised_at, zone).isoformat(),
        "frozen": finding.frozen,
        "reasons": list(finding.reasons),
        "evidence": finding.evidence,
        "why": {language: policy.sentence(explained, language) for language in LANGUAGES},
        "severity": policy.for_finding(
            finding.detector, {**finding.evidence, "score": finding.score}
        ).severity,
        "version": finding.version,
        "params_digest": finding.params_digest,
        "window": [finding.window_from.isoformat(), finding.window_to.isoformat()],
    }
