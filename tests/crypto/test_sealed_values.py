"""What is sealed opens with its key, for its place, and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.sealed_values import NotOpened, Scheme, seal, unseal


@given(
    plain=st.binary(max_size=400),
    place=st.text(max_size=40),
    scheme=st.sampled_from(Scheme),
    flip=st.integers(0, 10_000),
)
def test_only_the_key_and_the_place_open_it(
    plain: bytes, place: str, scheme: Scheme, flip: int
) -> None:
    key, other = b"\x01" * scheme.key_bytes, b"\x02" * scheme.key_bytes
    sealed = seal(scheme, key, plain, place)
    assert unseal(key, sealed, place) == plain
    bent = bytearray(sealed)
    bent[flip % len(bent)] ^= 1 << (flip % 8)
    for wrong in (
        (other, sealed, place),
        (key, sealed, place + "x"),
        (key, bytes(bent), place),
        (key, sealed[:-1], place),
    ):
        with pytest.raises(NotOpened):
            unseal(*wrong)
