"""A policy file is checked as a whole: every wrong place is refused by name, with the fix."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from analytics.detectors import DETECTORS, subletting, unoccupied
from analytics.display_rules import FindingRule, SeverityStep
from analytics.policy import load_policy, read_policy
from analytics.policy_table import BadPolicy, PolicyTable
from analytics.wording import LANGUAGES, Wording
from domain.alerting import AlertClass, Severity

TABLE = tomllib.loads(files("analytics").joinpath("policy.toml").read_text("utf-8"))
REMOVED = object()


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the shipped policy with one place set anew, or removed."""
    table = copy.deepcopy(TABLE)
    *parents, name = path.split("/")
    place = table
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is REMOVED:
        del place[name]
    else:
        place[name] = value
    return table


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("unoccupied", REMOVED, r"\[unoccupied\] is missing; add it"),
        ("alarms", REMOVED, r"\[alarms\] is missing; add it"),
        ("unocupied", {}, "unknown 'unocupied'; did you mean 'unoccupied'"),
        ("unoccupied/params", {"warm_days": 3}, r"\[unoccupied.params\] has unknown \['warm_days'"),
        ("unoccupied/params", {"warn_days": "30"}, "warn_days = '30' is no number"),
        ("unoccupied/params", {"warn_days": 0}, "warn_days = 0 is out of bounds; use 1 to 3660"),
        ("subletting/params", {"gone_seen": 4}, "gone_seen = 4 is out of bounds; use 0 to 1"),
        ("unoccupied/tell_form", 0.5, r"\[unoccupied\] has unknown 'tell_form'.*'tell_from'"),
        ("unoccupied/steps", [], r"\[unoccupied\] lacks 'steps'"),
        ("unoccupied/steps", [{"severity": "low"}], r"steps\[0\] lacks 'at_least'"),
        ("unoccupied/title", {"zh": "空置"}, r"\[unoccupied.title\] lacks 'en'"),
        ("unoccupied/clauses/car_parked", REMOVED, r"\[unoccupied.clauses\] lacks 'car_parked'"),
        ("gateway_silent/class", "panic", r"\[gateway_silent\] class = 'panic'; use one of"),
        ("gateway_silent/severity", "awful", r"severity = 'awful'; use one of"),
        ("clock_skew/limit_s", -1, r"\[clock_skew\] limit_s = -1 is out of bounds"),
        ("hazards/smoke/latch", "yes", r"\[hazards.smoke\] latch = 'yes'; write true or false"),
        ("hazards/smoke/on_delay_s", -5, "on_delay_s = -5 is no number from 0 on"),
        ("conditions/tamper/severty", "low", r"\[conditions.tamper\] has unknown 'severty'"),
        ("limits/residual_current/below", 900, "below = 900 must lie under above = 300"),
        ("limits/residual_current/point", 7, "point = 7 is no text"),
        ("alarms/fold_from", 2.5, r"\[alarms\] fold_from = 2.5 is no whole number"),
    ],
)
def test_a_wrong_place_is_refused_by_name(path: str, value: object, message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        read_policy(changed(path, value))


def test_a_detectors_parameters_are_its_defaults_under_the_policys() -> None:
    policy = read_policy(changed("unoccupied/params", {"warn_days": 60}))
    assert policy.params(unoccupied.DETECTOR).warn_days == 60
    assert policy.params(subletting.DETECTOR) == subletting.DETECTOR.params_type()


def test_a_sites_own_file_is_read_and_a_broken_one_is_named(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(files("analytics").joinpath("policy.toml").read_text("utf-8"), "utf-8")
    assert load_policy(own) == load_policy()
    own.write_text("version = ", "utf-8")
    with pytest.raises(BadPolicy, match=r"own.toml: not TOML"):
        load_policy(own)


def test_severity_steps_with_the_evidence() -> None:
    rule = FindingRule(
        alert_class=AlertClass.COMPLIANCE,
        tell_from=0.5,
        step_on="days",
        steps=(
            SeverityStep(at_least=0, severity=Severity.LOW),
            SeverityStep(at_least=90, severity=Severity.MEDIUM),
        ),
    )
    found = [rule.for_evidence({"days": days}).severity for days in (0, 89, 90, 400, None)]
    assert found == [
        Severity.LOW,
        Severity.LOW,
        Severity.MEDIUM,
        Severity.MEDIUM,
        Severity.LOW,
    ]


def test_life_safety_latches_whatever_the_file_says() -> None:
    policy = read_policy(changed("hazards/smoke/latch", False))
    smoke = policy.for_event("hazard", "smoke")
    assert smoke is not None and smoke.latched
    tamper = policy.for_event("device", "tamper")
    assert tamper is not None and not tamper.latched
    assert policy.for_event("hazard", "boredom") is None


def test_a_silent_gateway_speaks_for_what_is_behind_it() -> None:
    assert load_policy().behind_gateway == ["device:offline"]


def test_a_finding_is_shown_from_its_score_on() -> None:
    policy = read_policy(changed("unoccupied/tell_from", 0.7))
    assert policy.tells("unoccupied", 0.7) and not policy.tells("unoccupied", 0.69)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    detector: str = "unoccupied"
    subject: str = "3-1-502"
    reasons: Sequence[str] = ("looked_in",)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    since_at: datetime = datetime(2026, 3, 1, 17, 0, tzinfo=UTC)
    timezone: str = "Asia/Shanghai"


WORDING = Wording(
    title={"zh": "空置", "en": "Empty"},
    sentence={"zh": "自{since_day}起：{clauses}", "en": "Since {since_at}: {clauses}"},
    advice={"zh": "打电话", "en": "Call"},
    clauses={
        "looked_in": {"zh": "到访{visits}天", "en": "visited on {visits} days"},
        "quiet": {"zh": "安静", "en": "quiet"},
    },
)


def test_a_sentence_is_told_in_the_estates_own_time_with_its_clauses() -> None:
    alert = Explanation(reasons=("looked_in", "quiet", "other"), evidence={"visits": 3})
    assert WORDING.explain(alert, "zh") == "自2026-03-02起：到访3天；安静"
    assert WORDING.explain(alert, "en") == "Since 2026-03-02 01:00: visited on 3 days; quiet"


def test_a_value_that_is_not_known_is_a_question_mark() -> None:
    assert "visited on ? days" in WORDING.explain(Explanation(evidence={"visits": None}), "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_alert_has_its_words(language: str) -> None:
    policy = load_policy()
    names = [detector.key for detector in DETECTORS]
    names += [f"hazard:{word}" for word in TABLE["hazards"]]
    names += [f"device:{word}" for word in TABLE["conditions"]]
    names += [f"limit:{word}" for word in TABLE["limits"]]
    for name in names:
        assert policy.title(name, language) and policy.advice(name, language), name
    assert policy.title("hazard:boredom", language) == policy.title("hazard:other", language)


def test_times_are_read_in_seconds() -> None:
    table = PolicyTable("[x]", {"on_delay_s": 90})
    assert table.seconds("on_delay_s") == timedelta(seconds=90)
    assert table.seconds("off_delay_s") == timedelta(0)
