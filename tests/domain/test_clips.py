"""A link holds for one clip, for a few minutes, from whoever has the key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.clips import CLIP, LIFE_S, sign, signed

KEY, PATH, NOW = (
    b"a key of sixteen bytes",
    "es/cam-1/20261122t011027-b434ac8e82f9.jpg",
    1_795_000_000,
)


def test_a_link_and_what_is_none() -> None:
    good = sign(KEY, PATH, NOW + LIFE_S)
    until = str(NOW + LIFE_S)
    assert signed(KEY, PATH, until, good, NOW)
    assert not signed(KEY, PATH, until, good, NOW + LIFE_S + 1), "over"
    assert not signed(KEY, PATH.replace("cam-1", "cam-2"), until, good, NOW) and not signed(
        b"another key", PATH, until, good, NOW
    )
    assert not signed(KEY, PATH, str(NOW + 10_000), sign(KEY, PATH, NOW + 10_000), NOW), (
        "no link for hours"
    )
    assert CLIP.fullmatch("20261122t011027-b434ac8e82f9") and not CLIP.fullmatch("../../etc/passwd")


@given(until=st.text(max_size=20), signature=st.text(max_size=80))
def test_nothing_else_opens(until: str, signature: str) -> None:
    assert not signed(KEY, PATH, until, signature, NOW)
