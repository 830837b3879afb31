"""The words of a golden file of a detector, each with what it means; every other word is refused by
name.

`golden/README.md` shows the same tables to people, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from store.series.unit_days import NUMBERS

CASE_WORDS = {
    "about": "one sentence: what the case shows",
    "spans": "stretches of days, one after the other; see below",
    "let": "whether there is a tenancy on all days (true where left out)",
    "ended_day": "column of the last day of the tenancy",
    "declared": "[first, end) columns of a declared absence or repair",
    "spoken_for": "[first, end) columns of a declared guest or carer",
    "fitted": "families that have a device: water, energy, door, lock (all where left out)",
    "people": "registered residents who are seen (2 where left out)",
    "told": "reports about the unit; see below",
    "findings": "what must be found, in order; see below",
    "abstentions": "reasons of the abstentions that must come, sorted (none where left out)",
    "expect_none_above": "greatest score that any finding may have",
}
SPAN_WORDS = {
    "days": "length of the span in days",
    "every": "only every so many days hold what follows; of the others nothing is known",
    "water": "what the water meter shows; see below. Left out: nothing is known",
    "trickle_l": "litres of drips on each day",
    "kwh": "kWh of each day. Left out: nothing is known",
    "entries": "entries by a resident on each day. Left out: no door is known",
    "cars": "1 where the household's car passed the gate and was parked there by night",
    "tokens": "strangers who are seen; see below",
}
WATER_WORDS = {
    "used": "a lived-in day: 150 l in twelve hours, from six to ten in the evening",
    "quiet": "no use at all",
    "flows": "never without flow, 9 l an hour at least, 400 l",
    "daily": "150 l of a meter that is read once a day, without hours",
    "tap": "30 l within one hour at noon: a visit",
    "by_day": "60 l within six hours of the working day",
}
TOKEN_WORDS = {
    "token": "a number that stands for the person",
    "who": "0 resident, 1 stranger, 2 former resident, 3 declared guest",
    "night": "whether the night was spent there",
    "every": "seen on every so many days of the span",
}
REPORT_WORDS = {
    "day": "column of the day of the report",
    "source": "tip_off, outside (another office) or meter (a fault that facts found)",
    "kind": "what is reported, such as owns_home or water_reset",
}
FINDING_WORDS = {
    "since_day": "column on which it began, give or take a day",
    "until_day": "column on which it ended. Left out: it lasts",
    "frozen": "whether the data ended before it did (false where left out)",
    "reasons": "reason codes in their order",
}
FITTED_WORDS = ("water", "energy", "door", "lock")
SOURCE_WORDS = ("tip_off", "outside", "meter")
#: A span may also set a column of facts outright, over what the words above make of it.
COLUMN_WORDS = frozenset(NUMBERS)


class BadGoldenFile(AssertionError):
    """A golden file has a word or a value that nobody reads; the message names the place and what
    fits.
    """


def check_case(case: Mapping[str, Any], place: str) -> None:
    """Raise BadGoldenFile where a case has a word that is not in the vocabulary or lacks one that
    it needs.
    """
    _check_words(case, CASE_WORDS, place, needed=("about", "spans"))
    _check_values(case.get("fitted", ()), FITTED_WORDS, f"{place}: fitted")
    for number, span in enumerate(case["spans"]):
        _check_span(span, f"{place}: spans[{number}]")
    for number, report in enumerate(case.get("told", ())):
        where = f"{place}: told[{number}]"
        _check_words(report, REPORT_WORDS, where, needed=tuple(REPORT_WORDS))
        _check_values([report["source"]], SOURCE_WORDS, f"{where}.source")
    for number, finding in enumerate(case.get("findings", ())):
        where = f"{place}: findings[{number}]"
        _check_words(finding, FINDING_WORDS, where, needed=("since_day", "reasons"))


def _check_span(span: Mapping[str, Any], place: str) -> None:
    _check_words(span, [*SPAN_WORDS, *COLUMN_WORDS], place, needed=("days",))
    if "water" in span:
        _check_values([span["water"]], WATER_WORDS, f"{place}.water")
    for number, token in enumerate(span.get("tokens", ())):
        _check_words(token, TOKEN_WORDS, f"{place}.tokens[{number}]", needed=tuple(TOKEN_WORDS))


def _check_words(
    table: Mapping[str, Any], known: Any, place: str, *, needed: tuple[str, ...]
) -> None:
    _check_values(table, known, place)
    missing = [word for word in needed if word not in table]
    if missing:
        raise BadGoldenFile(f"{place}: lacks {missing}; add it")


def _check_values(words: Any, known: Any, place: str) -> None:
    for word in words:
        if word not in known:
            close = get_close_matches(str(word), list(known), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"use one of {sorted(known)}"
            raise BadGoldenFile(f"{place}: {word!r} is no word of a golden file; {hint}")
