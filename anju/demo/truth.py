"""What the demo found, beside what the simulator knows to be true: hits and misses alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from rich.console import Console

from analytics.policy import Policy
from simulators.city import Home, Story
from store.alerts.alerts import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryRule:
    """The story that makes a kind of lead true, and after how many days it ought to be known."""

    story: Story
    known_after_days: int


_STORIES = {
    "unoccupied": StoryRule(story=Story.LEFT, known_after_days=30),
    "subletting": StoryRule(story=Story.SUBLET, known_after_days=56),
}
#: Days after which a leak ought to be known.
_LEAK_KNOWN_AFTER_DAYS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Counts of one kind of thing: reported, of these true, existing, of these missed."""

    reported: int
    true: int
    existing: int
    missed: int

    @classmethod
    def of(cls, reported: set[Any], true: set[Any], existing: set[Any]) -> Hits:
        """Count what was reported against what is true and what ought to be known."""
        return cls(
            reported=len(reported),
            true=len(reported & true),
            existing=len(existing),
            missed=len(existing - reported),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScore:
    """How the demo's leads, leak alerts and present hazards compare with the truth."""

    leads: Hits
    leaks: Hits
    events: Hits


def score(
    leads: Sequence[Alert],
    others: Sequence[Alert],
    homes: Sequence[Home],
    happening: set[tuple[str, str]],
    today: date,
) -> DemoScore:
    """Compare alerts with the simulator's truth.

    `happening` are the (device, word) of what goes on now; `today` is the estate's local day.
    """
    reported_leads = {(lead.detector, lead.subject) for lead in leads}
    reported_leaks = {alert.subject for alert in others if alert.detector == "continuous_flow"}
    reported_events = {
        (alert.evidence["device"], alert.reasons[0])
        for alert in others
        if alert.subject_kind == "device" and alert.condition == "active"
    }
    leaking = {home.unit for home in homes if _leaks(home, today)}
    return DemoScore(
        leads=Hits.of(
            reported_leads,
            _true_leads(homes, today, known_only=False),
            _true_leads(homes, today, known_only=True),
        ),
        leaks=Hits.of(reported_leaks, leaking, leaking),
        events=Hits.of(reported_events, happening, happening),
    )


def is_true_lead(kind: str, home: Home) -> bool:
    """Tell whether a home's story makes a lead of this kind true."""
    rule = _STORIES.get(kind)
    return rule is not None and home.story == rule.story


def _true_leads(homes: Sequence[Home], today: date, *, known_only: bool) -> set[tuple[str, str]]:
    """List (kind, unit) of the true leads; with `known_only` those that ought to be known."""
    found = set()
    for home in homes:
        for kind, rule in _STORIES.items():
            least_days = rule.known_after_days if known_only else 0
            if is_true_lead(kind, home) and _days_since(home, today) >= least_days:
                found.add((kind, home.unit))
    return found


def _leaks(home: Home, today: date) -> bool:
    return home.story == Story.LEAK and _days_since(home, today) >= _LEAK_KNOWN_AFTER_DAYS


def _days_since(home: Home, today: date) -> int:
    """Count the days since a home's story began; 0 for one without a first day."""
    return 0 if home.from_day is None else (today - home.from_day).days


def print_alerts(
    out: Console,
    policy: Policy,
    leads: Sequence[Alert],
    others: Sequence[Alert],
    homes: Sequence[Home],
) -> None:
    """Print each lead with whether it is true, then each other alert."""
    by_unit = {home.unit: home for home in homes}
    out.print(
        f"\n[bold]Leads 线索 ({len(leads)})[/bold], likeliest first; "
        "a lead is a reason to ask, never a verdict"
    )
    for lead in leads:
        mark = "✓" if is_true_lead(lead.detector, by_unit[lead.subject]) else "✗"
        out.print(f"  {mark} {lead.subject} {lead.score:.2f} {policy.sentence(lead, 'zh')}")
    out.print(f"\n[bold]Hazards and data 隐患与数据 ({len(others)})[/bold]")
    for alert in others:
        title = policy.title(alert.detector, "zh")
        sentence = policy.sentence(alert, "zh")
        out.print(f"  {alert.severity:8} {alert.subject} {title}：{sentence}")


def print_score(out: Console, found: DemoScore) -> None:
    """Print the score in one sentence a kind."""
    leads = found.leads
    leaks = found.leaks
    events = found.events
    out.print(
        f"\n[bold]Compared with the simulator's truth[/bold]: "
        f"{leads.true} of {leads.reported} leads are true, "
        f"{leads.missed} of {leads.existing} left or sublet homes are missed; "
        f"{leaks.true} of {leaks.reported} leak alerts are true, "
        f"{leaks.missed} of {leaks.existing} leaking homes are missed; "
        f"{events.true} of {events.reported} hazards reported now are true, "
        f"{events.missed} of {events.existing} are missed."
    )
