"""How findings, events and limits are shown: class, severity, delays. The numbers stand in
`policy.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from domain.alerting import AlertClass, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayRule:
    """How something is shown.

    `on_delay` is how long a condition must last before it is shown, `off_delay` how long it must be
    over before its alert ends. A latched alert stays until a person has seen it; `review` marks
    what a picture alone says; `behind_gateway` marks what a silent gateway's own alert speaks for.
    """

    alert_class: AlertClass
    severity: Severity
    on_delay: timedelta = timedelta(0)
    off_delay: timedelta = timedelta(0)
    latched: bool = False
    review: bool = False
    behind_gateway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityStep:
    """The severity from a value on."""

    at_least: float
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRule:
    """How a detector's findings are shown: from which score on, and a severity that steps with a
    number of the evidence.
    """

    alert_class: AlertClass
    tell_from: float
    step_on: str
    steps: tuple[SeverityStep, ...]

    def for_evidence(self, evidence: Mapping[str, Any]) -> DisplayRule:
        """Return how a finding with this evidence is shown; a missing number counts as 0."""
        value = float(evidence.get(self.step_on) or 0)
        severity = self.steps[0].severity
        for step in self.steps:
            if value >= step.at_least:
                severity = step.severity
        return DisplayRule(alert_class=self.alert_class, severity=severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit on a gauge: raised above `above`, over below `below`; `kinds` of devices, empty for
    all.
    """

    key: str
    point: str
    kinds: tuple[str, ...]
    above: float
    below: float
    shown: DisplayRule
