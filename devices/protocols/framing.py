"""Frames out of a stream of bytes: the loop that every serial and TCP codec shares.

A codec's `next_frame` says what stands at the start of a buffer: a frame, a rejection, bytes to
skip, or that more bytes are needed. Its result depends on nothing but those bytes, so byte by byte
and all at once give the same frames. After a rejection the search continues one byte later, so that
a good frame inside a longer, broken one is found. When a line falls silent, `flush` ends the
waiting for bytes that do not come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from domain.rejection import Reason, Rejected

T = TypeVar("T")


class FrameBoundary(NamedTuple, Generic[T]):
    """What stands at the start of a buffer: `size` bytes belong to `found`.

    Size 0 asks for more bytes.

    Bytes without a `found` belong to no frame and are skipped.
    """

    size: int
    found: T | Rejected | None = None


#: More bytes are needed to tell.
NEED_DATA: FrameBoundary[Any] = FrameBoundary(0)
#: The first byte begins no frame.
SKIP_BYTE: FrameBoundary[Any] = FrameBoundary(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(Generic[T]):
    """A protocol with frames. `longest` is the most bytes that a frame can have."""

    name: str
    next_frame: Callable[[bytes], FrameBoundary[T]]
    encode: Callable[[T], bytes]
    longest: int

    def decode(self, data: bytes) -> T | Rejected:
        """Decode exactly one frame.

        Wake-up bytes or noise may precede it; nothing may follow it.
        """
        frame = self._decode_clean(data)
        return self._decode_thoroughly(data) if frame is None else frame

    def _decode_clean(self, data: bytes) -> T | None:
        """Decode the usual case in one pass; None for everything else."""
        position = 0
        size = len(data)
        while position < size:
            boundary = self.next_frame(data[position:] if position else data)
            position += boundary.size
            found = boundary.found
            if isinstance(found, Rejected) or boundary.size == 0:
                return None
            if found is not None:
                return found if position == size else None
        return None

    def _decode_thoroughly(self, data: bytes) -> T | Rejected:
        """Search every byte, to say what is wrong."""
        stream = FrameStream(self)
        items = stream.feed(data) + stream.flush()
        rejections = [item for item in items if isinstance(item, Rejected)]
        frames = [item for item in items if not isinstance(item, Rejected)]
        if len(frames) > 1:
            count = len(frames)
            return reject(self.name, Reason.BAD_FRAME, f"{count} frames where one was expected")
        if frames and stream.trailing:
            return reject(self.name, Reason.BAD_FRAME, "bytes follow the frame")
        if frames:
            return frames[0]
        if rejections:
            return rejections[0]
        return reject(self.name, Reason.TRUNCATED, f"no frame in {len(data)} bytes")


class FrameStream(Generic[T]):
    """One direction of one line.

    `skipped` counts the bytes that belonged to no frame, `trailing` those of them that came after
    the last good frame.
    """

    def __init__(self, codec: Codec[T]) -> None:
        self._codec = codec
        self._buffer = bytearray()
        self.skipped = 0
        self.trailing = 0

    def feed(self, data: bytes) -> list[T | Rejected]:
        """Add received bytes; return the frames and rejections that are now complete, in order."""
        self._buffer += data
        return self._search(ended=False)

    def flush(self) -> list[T | Rejected]:
        """End the waiting: reject what is not a whole frame, and return the frames that it hid."""
        return self._search(ended=True)

    def _search(self, *, ended: bool) -> list[T | Rejected]:
        items: list[T | Rejected] = []
        data = bytes(self._buffer)
        longest = self._codec.longest
        position = 0
        while position < len(data):
            rest = data[position : position + longest] if position else data
            boundary = self._codec.next_frame(rest)
            if boundary.size == 0:
                if not ended:
                    break
                items.append(reject(self._codec.name, Reason.TRUNCATED, "the frame breaks off"))
                position += 1
                self._count_noise(1)
                continue
            position += boundary.size
            if boundary.found is None or isinstance(boundary.found, Rejected):
                self._count_noise(boundary.size)
            else:
                self.trailing = 0
            if boundary.found is not None:
                items.append(boundary.found)
        del self._buffer[:position]
        return items

    def _count_noise(self, count: int) -> None:
        self.skipped += count
        self.trailing += count


def decode_bcd(data: bytes) -> int | None:
    """Decode packed decimal digits, low byte first; None where a nibble is not a digit."""
    text = data[::-1].hex()
    return int(text) if text.isdecimal() else None


def encode_bcd(value: int, size: int) -> bytes:
    """Encode packed decimal digits in `size` bytes, low byte first.

    Raises: ValueError for a value that does not fit.
    """
    text = f"{value:0{2 * size}d}"
    if value < 0 or len(text) > 2 * size:
        raise ValueError(f"{value} does not fit into {size} bytes of BCD")
    return bytes.fromhex(text)[::-1]


def reject(name: str, reason: Reason, detail: str) -> Rejected:
    """Make a rejection that names its protocol."""
    return Rejected(reason=reason, detail=f"{name}: {detail}")


def checksum_fault(name: str, body: bytes, checksum: int) -> Rejected | None:
    """Compare a frame's checksum with the sum of its bytes, modulo 256; None where they agree."""
    expected = sum(body) & 0xFF
    if expected == checksum:
        return None
    detail = f"checksum is {checksum:02X}H, the bytes add to {expected:02X}H"
    return reject(name, Reason.BAD_CHECKSUM, detail)


def trailer_fault(name: str, data: bytes, first: int, size: int) -> Rejected | None:
    """Check the trailer `CS 16H` of a frame of `size` bytes; None where it is right.

    The checksum covers the bytes from index `first` on.
    """
    end = data[size - 1]
    if end != 0x16:
        return reject(name, Reason.BAD_FRAME, f"ends with {end:02X}H, not 16H")
    return checksum_fault(name, data[first : size - 2], data[size - 2])
