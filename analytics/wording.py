"""The words that a person reads about an alert or a lead: title, sentence, advice, in each
language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

LANGUAGES = ("zh", "en")
#: A text by language; templates name their values in braces.
Texts = Mapping[str, str]
#: What stands between two clauses of a sentence.
_SEPARATOR = {"zh": "；", "en": "; "}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The words for one kind of alert; `clauses` are those of its reasons."""

    title: Texts
    sentence: Texts
    advice: Texts
    clauses: Mapping[str, Texts]

    def explain(self, alert: Explained, language: str) -> str:
        """Say in one sentence why an alert stands; a value that is not known is shown as "?"."""
        since_at = alert.since_at.astimezone(ZoneInfo(alert.timezone))
        values = {name: _shown(value) for name, value in alert.evidence.items()}
        values |= {
            "subject": alert.subject,
            "since_day": since_at.strftime("%Y-%m-%d"),
            "since_at": since_at.strftime("%Y-%m-%d %H:%M"),
            "title": self.title[language],
        }
        clauses = [
            self.clauses[reason][language].format_map(values)
            for reason in alert.reasons
            if reason in self.clauses
        ]
        joined = _SEPARATOR[language].join(clauses)
        unknown_place = {"place": "?", "device": "?"}
        return self.sentence[language].format_map({**unknown_place, **values, "clauses": joined})


def _shown(value: Any) -> Any:
    return "?" if value is None else value
