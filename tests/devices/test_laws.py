"""The laws that every codec and every push parser keeps, whatever bytes come.

The long run is tests/devices/fuzzing.py.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocols.framing import FrameStream
from devices.pushes import PUSHES
from domain.rejection import Rejected
from tests.conftest import SEED
from tests.devices.fuzzing import CODECS, bend, fuzz_codec, fuzz_push, heard, token

NAMES = sorted(CODECS)


def frames(name: str, seed: int, count: int) -> list[object]:
    rng = random.Random(f"{name}{seed}")
    return [CODECS[name][1](rng) for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_again(name: str, seed: int) -> None:
    codec = CODECS[name][0]
    for frame in frames(name, seed, 1):
        assert codec.decode(codec.encode(frame)) == frame


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_frame_or_a_refusal(name: str, data: bytes) -> None:
    codec = CODECS[name][0]
    found = codec.decode(data)
    assert isinstance(found, Rejected) or codec.decode(codec.encode(found)) == found


@pytest.mark.parametrize("name", NAMES)
@given(
    seed=st.integers(0, 2**32),
    garbage=st.lists(st.binary(max_size=40), min_size=4, max_size=4),
    bent=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_byte_by_byte_is_all_at_once(
    name: str, seed: int, garbage: list[bytes], bent: bool
) -> None:
    codec = CODECS[name][0]
    rng = random.Random(seed)
    data = b""
    for frame, noise in zip(frames(name, seed, 3), garbage, strict=False):
        written = codec.encode(frame)
        data += noise + (bend(rng, written) if bent else written)
    once, slowly, lumps = FrameStream(codec), FrameStream(codec), FrameStream(codec)
    at_once = once.feed(data) + once.flush()
    one_by_one = [item for byte in data for item in slowly.feed(bytes((byte,)))] + slowly.flush()
    in_lumps, at = [], 0
    while at < len(data):
        size = rng.randint(1, 50)
        in_lumps += lumps.feed(data[at : at + size])
        at += size
    in_lumps += lumps.flush()
    assert at_once == one_by_one == in_lumps
    assert once.skipped == slowly.skipped == lumps.skipped


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32), garbage=st.binary(max_size=80))
@settings(max_examples=150, deadline=None)
def test_after_garbage_the_next_good_frame_is_found(name: str, seed: int, garbage: bytes) -> None:
    codec = CODECS[name][0]
    (frame,) = frames(name, seed, 1)
    stream = FrameStream(codec)
    found = [
        item
        for item in stream.feed(garbage + codec.encode(frame)) + stream.flush()
        if not isinstance(item, Rejected)
    ]
    if frame not in found:
        # Noise that happens to be the beginning of a frame with a right checksum; the next frame is
        # found all the same.
        assert len(found) == 1 or name.startswith("modbus")
        more = stream.feed(codec.encode(frame) * 2) + stream.flush()
        assert frame in more


@pytest.mark.parametrize("name", NAMES)
def test_one_flipped_bit_is_never_taken_for_the_frame(name: str) -> None:
    """A sum over the bytes, or a CRC, sees every single flipped bit.

    Modbus TCP has neither and leaves that to TCP.
    """
    if name == "modbus-tcp":
        pytest.skip("Modbus TCP has no checksum")
    codec = CODECS[name][0]
    for frame in frames(name, SEED, 40):
        data = codec.encode(frame)
        if len(data) < 4:
            continue
        rng = random.Random(SEED)
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        bent = data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]
        assert codec.decode(bent) != frame


@pytest.mark.parametrize("name", NAMES)
def test_bent_frames_raise_nothing(name: str) -> None:
    fuzz_codec(name, SEED, 3000)


@pytest.mark.parametrize("name", sorted(PUSHES))
def test_bent_pushes_raise_nothing(name: str) -> None:
    fuzz_push(name, SEED, 3000)


@pytest.mark.parametrize("name", sorted(PUSHES))
@given(seed=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_what_is_pushed_is_read_again(name: str, seed: int) -> None:
    push = PUSHES[name]
    said = heard(random.Random(seed), name)
    try:
        kind, body = push.render(said)
    except ValueError:
        return
    assert push.parse(kind, body, token) == [said]


@pytest.mark.parametrize("name", sorted(PUSHES))
@given(
    body=st.binary(max_size=300),
    kind=st.sampled_from(
        ["application/json", "application/xml", "multipart/mixed; boundary=x", ""]
    ),
)
@settings(max_examples=60, deadline=None)
def test_any_body_is_heard_or_refused(name: str, body: bytes, kind: str) -> None:
    assert isinstance(PUSHES[name].parse(kind, body, token), list | Rejected)
