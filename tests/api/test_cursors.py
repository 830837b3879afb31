"""Places as words: back again whole, and nothing made elsewhere is taken for one."""

from __future__ import annotations

import os
import random

from api.cursors import Cursors
from tests.conftest import SEED


def test_a_word_is_a_place_again_and_tells_nothing() -> None:
    cursors = Cursors(os.urandom(32))
    rng = random.Random(SEED)
    places = [0, 1, 2, 2**62 - 1, *(rng.randrange(2**40) for _ in range(500))]
    words = [cursors.word(place) for place in places]
    assert [cursors.place(word) for word in words] == places and len(
        {len(word) for word in words}
    ) == 1
    # Neighbours share nothing: half of the bits differ on average.
    near = int(cursors.word(1000), 16) ^ int(cursors.word(1001), 16)
    assert 30 < near.bit_count() < 98


def test_what_was_not_made_here_is_no_place() -> None:
    cursors, other = Cursors(os.urandom(32)), Cursors(os.urandom(32))
    for word in (
        "",
        "17",
        "zz",
        "00" * 15,
        "00" * 17,
        "00" * 16,
        "ff" * 16,
        other.word(17),
        cursors.word(17)[:-1] + "x",
    ):
        assert cursors.place(word) is None
