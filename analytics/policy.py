"""Policy: what is shown of a finding or an event, how severe it is, and the sentence that a person reads.

It is data (`policy.toml`), so that a bureau can change a threshold or a word without a programmer; this module only
reads and applies it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from analytics.detectors import DETECTORS
from analytics.detectors.contract import Detector
from analytics.parameters import BadParameter, P, build_params
from domain.alerting import AlertClass, DetectorFamily, DetectorName, Severity
from domain.errors import UserError

LANGUAGES = ("zh", "en")
#: What watch finds by itself: what is wrong with a gateway, water that runs away, nobody stirring.
WATCH_ALERTS = (
    "gateway_silent",
    "clock_skew",
    "gateway_suspect",
    "burst_pipe",
    "no_sign_of_life",
    "unusual_lookups",
)
#: The table of the policy file that holds each family's words.
_TABLES = {
    DetectorFamily.HAZARD: "hazards",
    DetectorFamily.DEVICE: "conditions",
    DetectorFamily.LIMIT: "limits",
}


class BadPolicy(UserError):
    """A policy file does not say what it must; the message names the place and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayRule:
    """How something is to be shown."""

    alert_class: AlertClass
    severity: Severity
    on_delay: timedelta = timedelta(0)
    off_delay: timedelta = timedelta(0)
    latched: bool = False
    review: bool = False
    behind_gateway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit on a gauge: told above `above`, over below `below`; `kinds` of devices, empty for all."""

    key: str
    point: str
    kinds: tuple[str, ...]
    above: float
    below: float
    shown: DisplayRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """How alarms are managed (ISA-18.2 16; EEMUA 191): what counts as many, chattering and stale, and when rows fold."""

    fold_from: int
    per_seat_hour: float
    flood_per_10_min: int
    chatter_count: int
    chatter_s: float
    stale_h: float


class Explained(Protocol):
    """What the sentence about an alert, or about a lead, is made of."""

    @property
    def detector(self) -> str:
        """The detector's name."""

    @property
    def subject(self) -> str:
        """The subject's name, as people read it."""

    @property
    def reasons(self) -> Sequence[str]:
        """The codes of its reasons."""

    @property
    def evidence(self) -> Mapping[str, Any]:
        """The values that its clauses name."""

    @property
    def since_at(self) -> datetime:
        """When it began."""

    @property
    def timezone(self) -> str:
        """The time zone of its estate."""


class Policy:
    """A policy file, checked when it is read.

    Raises: BadPolicy.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        self._table = table
        self.version = str(table.get("version", ""))
        self._params: dict[str, Any] = {}
        for name in (*WATCH_ALERTS, "limits", "alarms"):
            if name not in table:
                raise BadPolicy(f"policy: [{name}] is missing; add it")
        for detector in DETECTORS:
            entry = table.get(detector.key)
            if entry is None:
                raise BadPolicy(f"policy: [{detector.key}] is missing; add it")
            try:
                self._params[detector.key] = build_params(
                    detector.params_type, entry.get("params", {})
                )
            except BadParameter as error:
                raise BadPolicy(f"policy: [{detector.key}.params] {error}") from None
        for place in self._entries():
            try:
                _shown(place)
            except (KeyError, ValueError, TypeError) as error:
                raise BadPolicy(
                    f"policy: an entry has no valid class, severity or delay: {error}"
                ) from None
        try:
            self.limits = tuple(_limit(key, entry) for key, entry in table["limits"].items())
            self.alarms = Alarms(**table["alarms"])
        except (KeyError, ValueError, TypeError) as error:
            raise BadPolicy(
                f"policy: [limits] or [alarms] does not say what it must: {error}"
            ) from None

    def _entries(self) -> list[dict[str, Any]]:
        single = [self._table[d.key] for d in DETECTORS] + [
            self._table[name] for name in WATCH_ALERTS
        ]
        return (
            single
            + list(self._table["hazards"].values())
            + list(self._table["conditions"].values())
        )

    def params(self, detector: Detector[P]) -> P:
        """Return a detector's parameters: its defaults under the policy's overrides."""
        params: P = self._params[detector.key]
        return params

    def tells(self, detector: str, score: float) -> bool:
        """Say whether a finding is likely enough to be told to anyone."""
        return score >= float(self._table[detector].get("tell_from", 0.0))

    def for_finding(self, detector: str, evidence: dict[str, Any]) -> DisplayRule:
        """Say how a finding is shown: the severity steps with the evidence."""
        entry = self._table[detector]
        severity = entry["steps"][0]["severity"]
        for step in entry["steps"]:
            if float(evidence.get(entry["step_on"]) or 0) >= step["at_least"]:
                severity = step["severity"]
        return DisplayRule(alert_class=AlertClass(entry["class"]), severity=Severity(severity))

    def for_event(self, kind: str, word: str) -> DisplayRule | None:
        """Say how a hazard or a device's condition is shown; None where it is not."""
        entry = self._table["hazards" if kind == "hazard" else "conditions"].get(word)
        return _shown(entry) if entry else None

    def for_watch(self, word: str) -> DisplayRule:
        """Say how something that watch finds by itself is shown: one of WATCH_ALERTS."""
        return _shown(self._table[word])

    @property
    def behind_gateway(self) -> list[str]:
        """Detectors for which a silent gateway's one alert speaks: no device behind it is told of on its own."""
        conditions = self._table["conditions"].items()
        return [
            str(DetectorName(family=DetectorFamily.DEVICE, word=word))
            for word, entry in conditions
            if _shown(entry).behind_gateway
        ]

    def number(self, word: str, name: str) -> float:
        """Return a number of an entry of WATCH_ALERTS, such as a limit."""
        return float(self._table[word][name])

    # Words -----------------------------------------------------------------------------------------------------------

    def title(self, detector: str, language: str) -> str:
        """Return the title of a detector's alerts."""
        return str(self._entry_of(detector)["title"][language])

    def sentence(self, alert: Explained, language: str) -> str:
        """Say in one sentence why an alert stands."""
        entry = self._entry_of(alert.detector)
        since_at = alert.since_at.astimezone(ZoneInfo(alert.timezone))
        words = {
            **{k: ("?" if v is None else v) for k, v in alert.evidence.items()},
            "subject": alert.subject,
            "since_day": since_at.strftime("%Y-%m-%d"),
            "since_at": since_at.strftime("%Y-%m-%d %H:%M"),
            "title": entry["title"][language],
        }
        clauses = [
            entry.get("clauses", {})[reason][language].format_map(words)
            for reason in alert.reasons
            if reason in entry.get("clauses", {})
        ]
        joined = ("；" if language == "zh" else "; ").join(clauses)
        template = entry["sentence"] if "sentence" in entry else self._table["event"]["sentence"]
        return str(
            template[language].format_map({"place": "?", "device": "?", **words, "clauses": joined})
        )

    def advice(self, detector: str, language: str) -> str:
        """Say what to do first about an alert of a detector."""
        entry = self._entry_of(detector)
        return str(
            (entry.get("advice") or self._table["event"]["advice"][entry["class"]])[language]
        )

    def _entry_of(self, detector: str) -> dict[str, Any]:
        name = DetectorName.parse(detector)
        if name.family is None:
            return dict(self._table[name.word])
        entries = self._table[_TABLES[name.family]]
        return dict(entries.get(name.word) or self._table["hazards"]["other"])


def _shown(entry: dict[str, Any]) -> DisplayRule:
    alert_class = AlertClass(entry["class"])
    return DisplayRule(
        alert_class=alert_class,
        severity=Severity(entry.get("severity", "low")),
        on_delay=timedelta(seconds=entry.get("on_delay_s", 0)),
        off_delay=timedelta(seconds=entry.get("off_delay_s", 0)),
        latched=alert_class is AlertClass.LIFE_SAFETY or bool(entry.get("latch", False)),
        review=bool(entry.get("review", False)),
        behind_gateway=bool(entry.get("behind_gateway", False)),
    )


def _limit(key: str, entry: dict[str, Any]) -> Limit:
    if not entry["below"] < entry["above"]:
        raise ValueError(f"[limits.{key}] below must lie under above")
    return Limit(
        key=key,
        point=entry["point"],
        kinds=tuple(entry.get("kinds", ())),
        above=float(entry["above"]),
        below=float(entry["below"]),
        shown=_shown(entry),
    )


def load_policy(path: Path | None = None) -> Policy:
    """Read the policy that ships with Anju, or a site's own.

    Raises: BadPolicy.
    """
    text = (
        path.read_text("utf-8")
        if path
        else files("analytics").joinpath("policy.toml").read_text("utf-8")
    )
    try:
        return Policy(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadPolicy(f"policy {path or 'policy.toml'}: not TOML: {error}") from None
