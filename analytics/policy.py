"""Policy: what is shown of a finding or an event, how severe it is, and the words that a person
reads.

It is data (`policy.toml`), so that a bureau can change a threshold or a word without a programmer.
The file is checked as a whole when it is read: what nobody would read, what is missing and what
does not fit are refused by name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from analytics.detectors import DETECTORS
from analytics.detectors.contract import Detector
from analytics.display_rules import DisplayRule, FindingRule, Limit, SeverityStep
from analytics.parameters import (
    Count,
    HourCount,
    Litres,
    Minutes,
    P,
    Seconds,
    WholeCount,
    parameter_names,
)
from analytics.policy_table import BadPolicy, PolicyTable
from analytics.wording import Explained, Texts, Wording
from domain.alerting import AlertClass, DetectorFamily, DetectorName, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkewSettings:
    """When a gateway's clock is off."""

    limit_s: Seconds = 300
    """Seconds that it may differ from the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySuspectSettings:
    """When a gateway's credential is suspect."""

    refused_limit: Count = 20
    """Refused messages within the window from which it is."""
    window_s: Seconds = 600
    """Seconds over which refused messages are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstPipeSettings:
    """When water runs as no household draws it."""

    above_l_h: Litres = 1000
    """Litres an hour above which it is raised."""
    below_l_h: Litres = 60
    """Litres an hour below which it is over."""
    step_s: Seconds = 7200
    """Seconds between two readings at most: beyond that they tell no flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WelfareSettings:
    """When the stages after the first of a missing sign of life begin."""

    neighbour_after_min: Minutes = 30
    """Minutes after the first stage: ask a neighbour."""
    visit_after_min: Minutes = 60
    """Minutes after the first stage: go and see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSettings:
    """How alarms are managed (ISA-18.2 16; EEMUA 191): what counts as many, chattering and stale,
    and when rows fold.
    """

    fold_from: WholeCount = 5
    """Alerts of a kind in an estate from which they fold into one row."""
    per_seat_hour: Count = 6
    """Alerts an hour that a seat can work on."""
    flood_per_10_min: WholeCount = 10
    """Alerts in ten minutes from which it is a flood."""
    chatter_count: WholeCount = 3
    """Returns from which an alert chatters, within `chatter_s`."""
    chatter_s: Seconds = 60
    """Seconds over which an alert's returns are counted."""
    stale_h: HourCount = 24
    """Hours after which an active alert is stale."""


#: The tables of what watch finds by itself, each with the class of its settings; None: it has none.
_WATCH_SETTINGS: dict[str, type[Any] | None] = {
    "gateway_silent": None,
    "clock_skew": ClockSkewSettings,
    "gateway_suspect": GatewaySuspectSettings,
    "burst_pipe": BurstPipeSettings,
    "no_sign_of_life": WelfareSettings,
    "unusual_lookups": None,
    "faces_stored": None,
}
#: The table of the policy file that holds each family's words.
_TABLES = {
    DetectorFamily.HAZARD: "hazards",
    DetectorFamily.DEVICE: "conditions",
    DetectorFamily.LIMIT: "limits",
}
_WORDING_NAMES = frozenset({"title", "sentence", "advice", "clauses"})
_DISPLAY_NAMES = frozenset(
    {"class", "severity", "on_delay_s", "off_delay_s", "latch", "review", "behind_gateway"}
)
#: What is for people who read the file: a procedure, the clause that an entry serves.
_REFERENCE_NAMES = frozenset({"runbook", "clause"})
_FINDING_NAMES = frozenset({"class", "steps", "step_on", "tell_from", "params"})
_LIMIT_NAMES = frozenset({"point", "kinds", "above", "below"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy file that was checked. Detectors, watch's own alerts, hazards and conditions go by
    their names.
    """

    version: str
    clock_skew: ClockSkewSettings
    gateway_suspect: GatewaySuspectSettings
    burst_pipe: BurstPipeSettings
    welfare: WelfareSettings
    alarms: AlarmSettings
    limits: tuple[Limit, ...]
    _params: Mapping[str, Any] = field(repr=False)
    _findings: Mapping[str, FindingRule] = field(repr=False)
    _watch: Mapping[str, DisplayRule] = field(repr=False)
    _events: Mapping[DetectorFamily, Mapping[str, DisplayRule]] = field(repr=False)
    _words: Mapping[DetectorName, Wording] = field(repr=False)

    def params(self, detector: Detector[P]) -> P:
        """Return a detector's parameters: its defaults under the policy's overrides."""
        params: P = self._params[detector.key]
        return params

    def tells(self, detector: str, score: float) -> bool:
        """Tell whether a finding is likely enough to be shown to anyone."""
        return score >= self._findings[detector].tell_from

    def for_finding(self, detector: str, evidence: Mapping[str, Any]) -> DisplayRule:
        """Return how a finding is shown: the severity steps with the evidence."""
        return self._findings[detector].for_evidence(evidence)

    def for_event(self, kind: str, word: str) -> DisplayRule | None:
        """Return how a hazard or a device's condition is shown; None where it is not."""
        family = DetectorFamily.HAZARD if kind == "hazard" else DetectorFamily.DEVICE
        return self._events[family].get(word)

    def for_watch(self, word: str) -> DisplayRule:
        """Return how something that watch finds by itself is shown, such as "gateway_silent"."""
        return self._watch[word]

    @property
    def behind_gateway(self) -> list[str]:
        """Detectors for which a silent gateway's one alert speaks: no device behind it is shown on
        its own.
        """
        conditions = self._events[DetectorFamily.DEVICE]
        return [
            str(DetectorName(family=DetectorFamily.DEVICE, word=word))
            for word, rule in conditions.items()
            if rule.behind_gateway
        ]

    def title(self, detector: str, language: str) -> str:
        """Return the title of a detector's alerts."""
        return self._wording_of(detector).title[language]

    def sentence(self, alert: Explained, language: str) -> str:
        """Say in one sentence why an alert stands."""
        return self._wording_of(alert.detector).explain(alert, language)

    def advice(self, detector: str, language: str) -> str:
        """Say what to do first about an alert of a detector."""
        return self._wording_of(detector).advice[language]

    def _wording_of(self, detector: str) -> Wording:
        name = DetectorName.parse(detector)
        if name.family is not None and name not in self._words:
            return self._words[DetectorName(family=DetectorFamily.HAZARD, word="other")]
        return self._words[name]


def load_policy(path: Path | None = None) -> Policy:
    """Read the policy that ships with Anju, or a site's own.

    Raises: BadPolicy.
    """
    source = path or files("analytics").joinpath("policy.toml")
    try:
        return read_policy(tomllib.loads(source.read_text("utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise BadPolicy(f"policy {path or 'policy.toml'}: not TOML: {error}") from None


def read_policy(values: Mapping[str, Any]) -> Policy:
    """Check a policy's tables and return what they say. Raises: BadPolicy."""
    root = PolicyTable("", values)
    detectors = [detector.key for detector in DETECTORS]
    root.check_names(
        ["version", "event", "alarms", *_TABLES.values(), *detectors, *_WATCH_SETTINGS]
    )
    event = root.table("event")
    words: dict[DetectorName, Wording] = {}
    events: dict[DetectorFamily, Mapping[str, DisplayRule]] = {}
    for family in (DetectorFamily.HAZARD, DetectorFamily.DEVICE):
        entries = dict(root.table(_TABLES[family]).tables())
        events[family] = {word: _display_entry(entry) for word, entry in entries.items()}
        for word, entry in entries.items():
            words[DetectorName(family=family, word=word)] = _wording(entry, event)
    limits = dict(root.table("limits").tables())
    for key, entry in limits.items():
        words[DetectorName(family=DetectorFamily.LIMIT, word=key)] = _wording(entry, event)
    for key in (*detectors, *_WATCH_SETTINGS):
        words[DetectorName(family=None, word=key)] = _wording(root.table(key), event)
    return Policy(
        version=str(values.get("version", "")),
        clock_skew=root.table("clock_skew").settings(ClockSkewSettings),
        gateway_suspect=root.table("gateway_suspect").settings(GatewaySuspectSettings),
        burst_pipe=root.table("burst_pipe").settings(BurstPipeSettings),
        welfare=root.table("no_sign_of_life").settings(WelfareSettings),
        alarms=root.table("alarms").params(AlarmSettings),
        limits=tuple(_limit(key, entry) for key, entry in limits.items()),
        _params={detector.key: _params(detector, root) for detector in DETECTORS},
        _findings={d.key: _finding_rule(d, root.table(d.key)) for d in DETECTORS},
        _watch={word: _watch_rule(word, root.table(word)) for word in _WATCH_SETTINGS},
        _events=events,
        _words=words,
    )


def _params(detector: Detector[P], root: PolicyTable) -> P:
    entry = root.table(detector.key)
    if "params" not in entry:
        return detector.params_type()
    return entry.table("params").params(detector.params_type)


def _finding_rule(detector: Detector[Any], entry: PolicyTable) -> FindingRule:
    entry.check_names(_FINDING_NAMES | _WORDING_NAMES | _REFERENCE_NAMES)
    clauses = entry.table("clauses")
    for reason in detector.reasons:
        clauses.texts(reason)
    steps = entry.values.get("steps")
    if not isinstance(steps, list) or not steps:
        raise entry.refuse("lacks 'steps'; add at least one {at_least, severity}")
    return FindingRule(
        alert_class=entry.choice("class", AlertClass),
        tell_from=entry.number("tell_from", 0.0),
        step_on=entry.text("step_on"),
        steps=tuple(_severity_step(entry, number, step) for number, step in enumerate(steps)),
    )


def _severity_step(entry: PolicyTable, number: int, step: Mapping[str, Any]) -> SeverityStep:
    table = PolicyTable(f"{entry.place} steps[{number}]", step)
    table.check_names(("at_least", "severity"))
    return SeverityStep(
        at_least=table.number("at_least"), severity=table.choice("severity", Severity)
    )


def _watch_rule(word: str, entry: PolicyTable) -> DisplayRule:
    settings = _WATCH_SETTINGS[word]
    names = parameter_names(settings) if settings else ()
    entry.check_names(_DISPLAY_NAMES | _WORDING_NAMES | _REFERENCE_NAMES | frozenset(names))
    return _display_rule(entry)


def _display_entry(entry: PolicyTable) -> DisplayRule:
    entry.check_names(_DISPLAY_NAMES | _WORDING_NAMES | _REFERENCE_NAMES)
    return _display_rule(entry)


def _display_rule(entry: PolicyTable) -> DisplayRule:
    alert_class = entry.choice("class", AlertClass)
    latch = entry.flag("latch")
    return DisplayRule(
        alert_class=alert_class,
        severity=entry.choice("severity", Severity, Severity.LOW),
        on_delay=entry.seconds("on_delay_s"),
        off_delay=entry.seconds("off_delay_s"),
        # Life safety always latches.
        latched=alert_class is AlertClass.LIFE_SAFETY or latch,
        review=entry.flag("review"),
        behind_gateway=entry.flag("behind_gateway"),
    )


def _limit(key: str, entry: PolicyTable) -> Limit:
    entry.check_names(_LIMIT_NAMES | _DISPLAY_NAMES | _WORDING_NAMES | _REFERENCE_NAMES)
    limit = Limit(
        key=key,
        point=entry.text("point"),
        kinds=entry.words("kinds"),
        above=entry.number("above"),
        below=entry.number("below"),
        shown=_display_rule(entry),
    )
    if not limit.below < limit.above:
        raise entry.refuse(f"below = {limit.below:g} must lie under above = {limit.above:g}")
    return limit


def _wording(entry: PolicyTable, event: PolicyTable) -> Wording:
    """Read an entry's words; without a sentence or advice of its own, those of events stand."""
    clauses: dict[str, Texts] = {}
    if "clauses" in entry:
        table = entry.table("clauses")
        clauses = {reason: table.texts(reason) for reason in table.values}
    if "advice" in entry:
        advice = entry.texts("advice")
    else:
        advice = event.table("advice").texts(entry.text("class"))
    return Wording(
        title=entry.texts("title"),
        sentence=(entry if "sentence" in entry else event).texts("sentence"),
        advice=advice,
        clauses=clauses,
    )
