"""What routes answer about alerts: models with units, and an example each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from pydantic import Field

from analytics.policy import Policy
from api.answers import Answer, example
from domain.alerting import (
    Acknowledgement,
    AlertClass,
    AlertCondition,
    Severity,
    SubjectKind,
    Suppression,
)
from store.alerts.alerts import Alert
from store.alerts.changes import AlertChange
from store.alerts.evidence import EvidenceDay
from store.alerts.lists import AlertFold

_ALERT = {
    "id": 4711,
    "estate": "qingnian",
    "detector": "unoccupied",
    "subject_kind": "unit",
    "subject": "3-1-502",
    "alert_class": "compliance",
    "severity": "medium",
    "score": 0.82,
    "condition": "active",
    "acknowledgement": "unacknowledged",
    "acknowledged_at": None,
    "acknowledged_by": None,
    "suppression": "none",
    "suppressed_because": None,
    "assignee": None,
    "latched": False,
    "review": False,
    "drill": False,
    "reasons": ["no_water_used"],
    "evidence": {"days": 60},
    "policy_version": "3",
    "since_at": "2026-08-01T16:00:00Z",
    "until_at": None,
    "occurrences": 1,
    "raised_at": "2026-09-30T20:00:00Z",
    "last_seen_at": "2026-11-29T20:00:00Z",
    "ended_at": None,
    "version": 1,
    "title": "Unoccupied",
    "sentence": "3-1-502 has used no water for 60 days.",
    "advice": "Call the tenant, then visit.",
}
_FOLD = {
    "estate": "qingnian",
    "detector": "device:offline",
    "alert_class": "data",
    "alerts": 31,
    "unacknowledged": 30,
    "severity": "low",
    "since_at": "2026-11-29T20:00:00Z",
    "raised_at": "2026-11-29T20:05:00Z",
    "examples": ["3-1-502 · wm-12", "3-1-501 · wm-11", "3-1-402 · wm-10"],
    "newest": 4742,
    "title": "Device offline",
}
_CHANGE = {
    "seq": 9001,
    "at": "2026-09-30T20:00:00Z",
    "actor": "analytics",
    "step": "raised",
    "note": None,
}
_DAY = {
    "day": "2026-09-30",
    "water_l": 0.0,
    "water_cover": 1.0,
    "energy_kwh": 0.4,
    "energy_cover": 0.98,
    "entries": 0,
    "faults": [],
}


class AlertAnswer(Answer):
    """An alert: its three axes in the words of ISA-18.2, its evidence, and the same in words."""

    model_config = example(_ALERT)
    id: int = Field(description="number of the alert")
    estate: str = Field(description="code of the estate")
    detector: str = Field(description="what found it, such as `unoccupied` or `hazard:smoke`")
    subject_kind: SubjectKind = Field(description="what it is about")
    subject: str = Field(description="name of what it is about")
    alert_class: AlertClass = Field(description="kind of duty; it decides who sees the alert")
    severity: Severity = Field(description="how bad it is if it is true")
    score: float = Field(description="how likely it is true, from 0 to 1")
    condition: AlertCondition = Field(description="what the world does")
    acknowledgement: Acknowledgement = Field(description="what people did about it")
    acknowledged_at: datetime | None = Field(description="when it was first acknowledged")
    acknowledged_by: str | None = Field(description="who acknowledged it")
    suppression: Suppression = Field(description="why it is not shown; `none` where it is")
    suppressed_because: str | None = Field(description="the reason that was given for it")
    assignee: str | None = Field(description="who looks after it")
    latched: bool = Field(description="whether it stays until a person has seen it")
    review: bool = Field(description="whether a person has to look at the camera's pictures")
    drill: bool = Field(description="whether it was raised in an announced drill")
    reasons: Sequence[str] = Field(description="codes of its reasons, the strongest first")
    evidence: dict[str, Any] = Field(description="values that its sentence names, by name")
    policy_version: str = Field(description="version of the policy that showed it")
    since_at: datetime = Field(description="when its condition began")
    until_at: datetime | None = Field(description="when its condition ended, where that is known")
    occurrences: int = Field(description="how often its condition came")
    raised_at: datetime = Field(description="when it was raised")
    last_seen_at: datetime = Field(description="when its condition was last reported")
    ended_at: datetime | None = Field(description="when it ended; null while it is open")
    version: int = Field(description="rises with every change; the ETag of the alert")
    title: str = Field(description="title, in the language of the request")
    sentence: str = Field(description="one sentence that says why it stands")
    advice: str = Field(description="what to do first")


class AlertPage(Answer):
    """A page of alerts."""

    model_config = example({"items": [_ALERT], "next": None})
    items: list[AlertAnswer] = Field(description="alerts, newest first")
    next: int | None = Field(description="`before` of the following page; null on the last")


class LeadList(Answer):
    """The leads to follow next."""

    model_config = example({"items": [_ALERT]})
    items: list[AlertAnswer] = Field(description="leads, the likeliest first")


class AlertFoldAnswer(Answer):
    """Many alerts of one detector at one estate, shown as one row."""

    model_config = example(_FOLD)
    estate: str = Field(description="code of the estate")
    detector: str = Field(description="what found them")
    alert_class: AlertClass = Field(description="kind of duty")
    alerts: int = Field(description="how many they are")
    unacknowledged: int = Field(description="how many of them nobody has acknowledged")
    severity: Severity = Field(description="the highest of them")
    since_at: datetime = Field(description="when the first condition began")
    raised_at: datetime = Field(description="when the newest was raised")
    examples: Sequence[str] = Field(description="names of the subjects of the newest three")
    newest: int = Field(description="number of the newest alert")
    title: str = Field(description="title, in the language of the request")


class AlertFoldList(Answer):
    """The folds within reach."""

    model_config = example({"items": [_FOLD]})
    items: list[AlertFoldAnswer] = Field(description="folds, the newest first")


class AlertChangeAnswer(Answer):
    """One entry of an alert's record."""

    model_config = example(_CHANGE)
    seq: int = Field(description="number of the change; rises over all alerts")
    at: datetime = Field(description="when it was made")
    actor: str = Field(description="who made it: a log-in, or a part of Anju")
    step: str = Field(description="what was done, such as `raised` or `acknowledged`")
    note: str | None = Field(description="the reason or the remark that was given")


class EvidenceDayAnswer(Answer):
    """What is known of a home on one local day; null where nothing is known."""

    model_config = example(_DAY)
    day: date = Field(description="local day of the estate")
    water_l: float | None = Field(description="water drawn, in litres")
    water_cover: float = Field(description="share of the day that its readings cover, 0 to 1")
    energy_kwh: float | None = Field(description="electricity used, in kWh")
    energy_cover: float = Field(description="share of the day that its readings cover, 0 to 1")
    entries: int | None = Field(description="how often somebody came in")
    faults: Sequence[str] = Field(description="faults of the meters on that day")


class AlertDetailAnswer(AlertAnswer):
    """An alert with its record and the days behind it."""

    model_config = example({**_ALERT, "days": [_DAY], "history": [_CHANGE]})
    days: list[EvidenceDayAnswer] = Field(description="days of the home, from before the alert on")
    history: list[AlertChangeAnswer] = Field(description="its changes, oldest first")


class AlertVersionAnswer(Answer):
    """An alert that was changed."""

    model_config = example({"id": 4711, "version": 2})
    id: int = Field(description="number of the alert")
    version: int = Field(description="its new version")


class AlertReferenceAnswer(Answer):
    """An alert to whose record something was added."""

    model_config = example({"id": 4711})
    id: int = Field(description="number of the alert")


class RefusedStep(Answer):
    """An alert on which a step could not be taken."""

    model_config = example(
        {"id": 4712, "code": "not_allowed", "problem": "this alert is acknowledged already"}
    )
    id: int = Field(description="number of the alert")
    code: str = Field(description="`unknown`, `not_allowed` or `stale`")
    problem: str = Field(description="what stands in the way")


class BulkStepAnswer(Answer):
    """What became of one step on many alerts."""

    model_config = example({"done": [{"id": 4711, "version": 2}], "refused": [], "more": False})
    done: list[AlertVersionAnswer] = Field(description="alerts on which the step was taken")
    refused: list[RefusedStep] = Field(description="alerts on which it could not be taken")
    more: bool = Field(description="whether the filter may mean more alerts than were tried")


def describe_alert(alert: Alert, policy: Policy, language: str) -> AlertAnswer:
    """Make the answer for an alert, with its title, sentence and advice in a language."""
    return AlertAnswer(**_alert_fields(alert, policy, language))


def describe_alert_in_detail(
    alert: Alert,
    policy: Policy,
    language: str,
    *,
    days: Sequence[EvidenceDay],
    history: Sequence[AlertChange],
) -> AlertDetailAnswer:
    """Make the answer for an alert with its record and the days behind it."""
    return AlertDetailAnswer(
        **_alert_fields(alert, policy, language),
        days=[EvidenceDayAnswer.model_validate(day) for day in days],
        history=[AlertChangeAnswer.model_validate(change) for change in history],
    )


def describe_fold(fold: AlertFold, policy: Policy, language: str) -> AlertFoldAnswer:
    """Make the answer for a fold, with its title in a language."""
    fields = {name: getattr(fold, name) for name in AlertFold.__slots__}
    return AlertFoldAnswer(**fields, title=policy.title(fold.detector, language))


_WORDED = frozenset({"title", "sentence", "advice"})


def _alert_fields(alert: Alert, policy: Policy, language: str) -> dict[str, Any]:
    columns = AlertAnswer.model_fields.keys() - _WORDED
    return {
        **{name: getattr(alert, name) for name in columns},
        "title": policy.title(alert.detector, language),
        "sentence": policy.sentence(alert, language),
        "advice": policy.advice(alert.detector, language),
    }
