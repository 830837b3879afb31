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
from analytics.nightly.clock import last_whole_day, night_clock
from analytics.policy import Policy
from analytics.remedies import remedy_of
from analytics.wording import LANGUAGES, Texts
from domain.alerting import Severity
from domain.calendar import day_of
from store.analytics import findings
from store.analytics.findings import StandingFinding
from store.database.connection import Connection

#: What a visit can confirm: the kinds of compliance. Those of them that the register itself tells
#: need no visit.
KINDS: tuple[str, ...] = tuple(d.key for d in DETECTORS if d.family == "compliance")
FROM_THE_DESK = frozenset({"unlet_too_long", "exit_warning"})


def check_kind(outcome: str, kind: str | None) -> None:
    """Check that a confirmed visit, and no other, names what it confirmed. Raises: ValueError."""
    if (outcome == "confirmed") != (kind is not None) or (kind is not None and kind not in KINDS):
        raise ValueError(f"a confirmed visit, and no other, names one of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTime:
    """The instant for which leads are asked: after the night of the day `as_of`, or now where it is
    None.
    """

    now: datetime
    zone: ZoneInfo
    as_of: date | None = None

    @property
    def instant(self) -> datetime:
        """What was known by then counts."""
        return self.now if self.as_of is None else night_clock(self.as_of, self.zone)

    @property
    def last_day(self) -> date:
        """The last whole day by then."""
        return last_whole_day(self.instant, self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """A finding of compliance as people and programs read it: a reason to ask, never a verdict.

    Days are the estate's own; it began between `start_low` and `start_high` (nine in ten).
    `raised_day` is the last whole day known when it was first reported, `window` the first and the
    last day that the detector saw.
    """

    unit: str
    unit_id: int
    estate: str
    kind: str
    score: float
    start_day: date
    start_low: date
    start_high: date
    raised_day: date
    frozen: bool
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]
    why: Texts
    severity: Severity
    version: str
    params_digest: str
    window: tuple[date, date]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemediableAbstention:
    """Days of a unit that could not be judged, and what would remedy it."""

    unit: str
    estate: str
    kind: str
    reason: str
    from_day: date
    to_day: date
    remedy: Texts


def list_leads(
    connection: Connection, policy: Policy, estates: Sequence[int], time: LeadTime
) -> list[Lead]:
    """List the leads that stood at a time, the likeliest first."""
    standing = findings.list_standing(connection, estates, KINDS, time.instant)
    return [describe_lead(policy, finding) for finding in standing]


def list_abstentions(
    connection: Connection, estates: Sequence[int], time: LeadTime
) -> list[RemediableAbstention]:
    """List what could not be judged on the last whole day, each with what would remedy it."""
    known = findings.list_known_abstentions(connection, estates, time.instant, time.last_day)
    return [
        RemediableAbstention(
            unit=abstention.unit,
            estate=abstention.estate,
            kind=abstention.detector,
            reason=abstention.reason,
            from_day=abstention.from_day,
            to_day=abstention.to_day,
            remedy=remedy_of(abstention.reason),
        )
        for abstention in known
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedLead:
    """What the sentence about a lead is made of."""

    detector: str
    subject: str
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    since_at: datetime
    timezone: str


def describe_lead(policy: Policy, finding: StandingFinding) -> Lead:
    """Turn a finding that was shown into a lead."""
    assert finding.raised_at is not None, "only findings that were shown are leads"
    zone = ZoneInfo(finding.timezone)
    explained = ExplainedLead(
        detector=finding.detector,
        subject=finding.unit,
        reasons=finding.reasons,
        evidence=finding.evidence,
        since_at=finding.since_at,
        timezone=finding.timezone,
    )
    stepped = {**finding.evidence, "score": finding.score}
    # The bound is the instant at which the last possible day ends.
    latest_start = finding.since_high_at - timedelta(milliseconds=1)
    return Lead(
        unit=finding.unit,
        unit_id=finding.unit_id,
        estate=finding.estate,
        kind=finding.detector,
        score=round(float(finding.score), 3),
        start_day=day_of(finding.since_at, zone),
        start_low=day_of(finding.since_low_at, zone),
        start_high=day_of(latest_start, zone),
        raised_day=last_whole_day(finding.raised_at, zone),
        frozen=finding.frozen,
        reasons=tuple(finding.reasons),
        evidence=finding.evidence,
        why={language: policy.sentence(explained, language) for language in LANGUAGES},
        severity=policy.for_finding(finding.detector, stepped).severity,
        version=finding.version,
        params_digest=finding.params_digest,
        window=(finding.window_from, finding.window_to),
    )
