"""A provider's body: places are filled once, and nothing else in braces is touched."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from notices.channels.template import fill

WORDS = {"phone": "13800000000", "title": "{text}", "text": "火"}
LEAVES = st.none() | st.integers() | st.text(alphabet="ab{}:火", max_size=12)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(BODIES)
def test_a_body_without_places_stays_as_it_is(body: Any) -> None:
    assert fill(body, WORDS) == body


@given(st.lists(st.sampled_from(["{phone}", "{title}", "{text}", "{other}", "{", "}", "x"])))
def test_each_place_is_filled_once(pieces: list[str]) -> None:
    words = {f"{{{name}}}": word for name, word in WORDS.items()}
    text = " ".join(pieces)
    assert fill({"to": [text]}, WORDS) == {
        "to": [" ".join(words.get(piece, piece) for piece in pieces)]
    }
