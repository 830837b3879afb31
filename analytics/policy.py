"""Policy: what is shown of a finding or an event, how severe it is, and the sentence that a person reads.

It is data (`policy.toml`), so that a bureau can change a threshold or a word without a programmer; this module only
reads and applies it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from analytics.detectors import DETECTORS
from domain.alerting import AlertClass, Severity

LANGUAGES = ("zh", "en")
#: What may be wrong with a gateway itself.
GATEWAY_ALERTS = ("gateway_silent", "clock_skew")


class BadPolicy(Exception):
    """A policy file does not say what it must; the message names the place and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How something is to be shown."""

    alert_class: AlertClass
    severity: Severity


class Policy:
    """A policy file, checked when it is read.

    Raises: BadPolicy.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        self._table = table
        self.version = str(table.get("version", ""))
        for name in GATEWAY_ALERTS:
            if name not in table:
                raise BadPolicy(f"policy: [{name}] is missing; add it")
        for detector in DETECTORS:
            entry = table.get(detector.key)
            if entry is None:
                raise BadPolicy(f"policy: [{detector.key}] is missing; add it")
            unknown = set(entry.get("params", {})) - set(detector.defaults)
            if unknown:
                raise BadPolicy(
                    f"policy: [{detector.key}.params] has unknown {sorted(unknown)}; use {sorted(detector.defaults)}"
                )
        for place in self._entries():
            try:
                AlertClass(place["class"])
                Severity(place.get("severity", "low"))
            except (KeyError, ValueError) as error:
                raise BadPolicy(f"policy: an entry has no valid class or severity: {error}") from None

    def _entries(self) -> list[dict[str, Any]]:
        single = [self._table[d.key] for d in DETECTORS] + [self._table[name] for name in GATEWAY_ALERTS]
        return single + list(self._table["hazards"].values()) + list(self._table["conditions"].values())

    def params(self, detector: str) -> dict[str, float]:
        """Return a detector's parameters: its defaults under the policy's overrides."""
        defaults = next(d.defaults for d in DETECTORS if d.key == detector)
        return {**defaults, **self._table[detector].get("params", {})}

    def tells(self, detector: str, score: float) -> bool:
        """Say whether a finding is likely enough to be told to anyone."""
        return score >= float(self._table[detector].get("tell_from", 0.0))

    def for_finding(self, detector: str, evidence: dict[str, Any]) -> Shown:
        """Say how a finding is shown: the severity steps with the evidence."""
        entry = self._table[detector]
        severity = entry["steps"][0]["severity"]
        for step in entry["steps"]:
            if float(evidence.get(entry["step_on"]) or 0) >= step["at_least"]:
                severity = step["severity"]
        return Shown(alert_class=AlertClass(entry["class"]), severity=Severity(severity))

    def for_event(self, kind: str, word: str) -> Shown | None:
        """Say how a hazard or a device's condition is shown; None where it is not."""
        entry = self._table["hazards" if kind == "hazard" else "conditions"].get(word)
        return Shown(alert_class=AlertClass(entry["class"]), severity=Severity(entry["severity"])) if entry else None

    def for_gateway(self, word: str) -> Shown:
        """Say how something wrong with a gateway itself is shown: one of GATEWAY_ALERTS."""
        entry = self._table[word]
        return Shown(alert_class=AlertClass(entry["class"]), severity=Severity(entry["severity"]))

    @property
    def clock_skew_s(self) -> float:
        """How far a gateway's clock may be off, in seconds, before anyone is told."""
        return float(self._table["clock_skew"]["limit_s"])

    # Words -----------------------------------------------------------------------------------------------------------

    def title(self, alert: dict[str, Any], language: str) -> str:
        """Return an alert's title."""
        return str(self._entry_of(alert)["title"][language])

    def sentence(self, alert: dict[str, Any], language: str) -> str:
        """Say in one sentence why an alert stands; `alert` is its row, with the estate's time zone."""
        entry = self._entry_of(alert)
        zone = ZoneInfo(alert["timezone"])
        evidence: dict[str, Any] = alert["evidence"]
        words = {
            **{k: ("?" if v is None else v) for k, v in evidence.items()},
            "subject": alert["subject"],
            "since_day": _local(alert["since_at"], zone).strftime("%Y-%m-%d"),
            "since_at": _local(alert["since_at"], zone).strftime("%Y-%m-%d %H:%M"),
            "title": entry["title"][language],
        }
        clauses = [
            entry.get("clauses", {})[reason][language].format_map(words)
            for reason in alert["reasons"]
            if reason in entry.get("clauses", {})
        ]
        joined = ("；" if language == "zh" else "; ").join(clauses)
        template = entry["sentence"] if "sentence" in entry else self._table["event"]["sentence"]
        return str(template[language].format_map({"place": "?", "device": "?", **words, "clauses": joined}))

    def advice(self, alert: dict[str, Any], language: str) -> str:
        """Say what to do first."""
        entry = self._entry_of(alert)
        return str((entry.get("advice") or self._table["event"]["advice"][entry["class"]])[language])

    def _entry_of(self, alert: dict[str, Any]) -> dict[str, Any]:
        family, _, word = str(alert["detector"]).partition(":")
        if family in ("hazard", "device"):
            table = self._table["hazards" if family == "hazard" else "conditions"]
            return dict(table.get(word) or self._table["hazards"]["other"])
        return dict(self._table[family])


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone)


def load_policy(path: Path | None = None) -> Policy:
    """Read the policy that ships with Anju, or a site's own.

    Raises: BadPolicy.
    """
    text = path.read_text("utf-8") if path else files("analytics").joinpath("policy.toml").read_text("utf-8")
    try:
        return Policy(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadPolicy(f"policy {path or 'policy.toml'}: not TOML: {error}") from None
