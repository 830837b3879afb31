from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import slug, valid_event_id, valid_id, valid_point

HOSTILE = [
    "",
    "a",
    "A1",
    "a/b",
    "a+b",
    "#",
    "..",
    "a\x00b",
    "é1",
    "a b",
    "-a",
    "a" * 41,
    "ａｂ",
    "a\nb",
    "a\n",
]


def test_hostile_ids_are_refused() -> None:
    for text in HOSTILE:
        assert not valid_id(text), repr(text)


def test_plain_ids_are_taken() -> None:
    for text in ("em-0301", "door-3-1", "1f8730a9-5d67-4895-9215-6e247087ea00", "10006704"):
        assert valid_id(text)
    assert valid_point("energy_kwh") and not valid_point("Energy") and not valid_point("1st")
    assert valid_event_id("88123") and not valid_event_id("a b") and not valid_event_id("")


@given(st.text())
def test_a_slug_is_always_an_id(text: str) -> None:
    assert valid_id(slug(text))
