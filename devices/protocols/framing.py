"""Frames out of a stream of bytes: the one loop that every serial and TCP codec shares.

A codec says what stands at the start of a buffer (`cut`): a frame, a refusal, bytes to skip, or that more bytes are
needed. The answer may depend on nothing but those bytes, so byte by byte and all at once give the same frames. After a
refusal the search goes on one byte later, so that a good frame inside what looked like a longer, broken one is found;
`flush` ends the waiting for bytes that do not come (a line that fell silent).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from domain.rejection import Reason, Rejected

T = TypeVar("T")


class FrameBoundary(NamedTuple, Generic[T]):
    """What stands at the start of a buffer: `size` bytes belong to `found`; size 0 asks for more bytes."""

    size: int
    found: T | Rejected | None = None


#: More bytes are needed to tell.
MORE: FrameBoundary[Any] = FrameBoundary(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(Generic[T]):
    """A protocol with frames. `longest` is the most bytes that a frame can have."""

    name: str
    cut: Callable[[bytes], FrameBoundary[T]]
    encode: Callable[[T], bytes]
    longest: int

    def decode(self, data: bytes) -> T | Rejected:
        """Read exactly one frame, with nothing but wake-up bytes or noise before it and nothing after it."""
        at, size = 0, len(data)
        while at < size:
            cut = self.cut(data[at:] if at else data)
            at += cut.size
            if cut.found is not None and not isinstance(cut.found, Rejected) and at == size:
                return cut.found
            if cut.found is not None or cut.size == 0:
                break
        # Not the plain case: look at every byte to say what is wrong.
        stream = FrameStream(self)
        found = stream.feed(data) + stream.flush()
        frames = [item for item in found if not isinstance(item, Rejected)]
        if len(frames) == 1 and not stream.trailing:
            return frames[0]
        if len(frames) > 1:
            return Rejected(
                reason=Reason.BAD_FRAME,
                detail=f"{self.name}: {len(frames)} frames where one was expected",
            )
        if frames:
            return Rejected(reason=Reason.BAD_FRAME, detail=f"{self.name}: bytes follow the frame")
        for item in found:
            if isinstance(item, Rejected):
                return item
        return Rejected(
            reason=Reason.TRUNCATED, detail=f"{self.name}: no frame in {len(data)} bytes"
        )


class FrameStream(Generic[T]):
    """One direction of one line. `skipped` counts the bytes that belonged to no frame."""

    def __init__(self, codec: Codec[T]) -> None:
        self._codec = codec
        self._buffer = bytearray()
        self.skipped = 0
        #: Bytes that came after the last good frame and belonged to none.
        self.trailing = 0

    def feed(self, data: bytes) -> list[T | Rejected]:
        """Take bytes as they come; returns the frames that are now complete, in order."""
        self._buffer += data
        return self._run(ended=False)

    def flush(self) -> list[T | Rejected]:
        """Nothing more comes for now: what is not a whole frame is refused, and what it hid is looked for."""
        return self._run(ended=True)

    def _run(self, *, ended: bool) -> list[T | Rejected]:
        out: list[T | Rejected] = []
        data = bytes(self._buffer)
        at = 0
        while at < len(data):
            cut = self._codec.cut(data[at : at + self._codec.longest] if at else data)
            if cut.size == 0:
                if not ended:
                    break
                out.append(
                    Rejected(
                        reason=Reason.TRUNCATED, detail=f"{self._codec.name}: the frame breaks off"
                    )
                )
                at += 1
                self._noise(1)
                continue
            at += cut.size
            if cut.found is None or isinstance(cut.found, Rejected):
                self._noise(cut.size)
            else:
                self.trailing = 0
            if cut.found is not None:
                out.append(cut.found)
        del self._buffer[:at]
        return out

    def _noise(self, count: int) -> None:
        self.skipped += count
        self.trailing += count


def bcd(data: bytes) -> int | None:
    """Read packed decimal digits, low byte first; None where a nibble is not a digit."""
    text = data[::-1].hex()
    return int(text) if text.isdecimal() else None


def to_bcd(value: int, size: int) -> bytes:
    """Write packed decimal digits, low byte first.

    Raises: ValueError for a value that does not fit.
    """
    text = f"{value:0{2 * size}d}"
    if value < 0 or len(text) > 2 * size:
        raise ValueError(f"{value} does not fit into {size} bytes of BCD")
    return bytes.fromhex(text)[::-1]


def refused(name: str, reason: Reason, detail: str) -> Rejected:
    """Make a refusal that names its protocol."""
    return Rejected(reason=reason, detail=f"{name}: {detail}")


def sum_fault(name: str, body: bytes, given: int) -> Rejected | None:
    """Hold a frame's checksum against the sum of its bytes, modulo 256; None where it is right."""
    want = sum(body) & 0xFF
    if want == given:
        return None
    return refused(
        name, Reason.BAD_CHECKSUM, f"checksum is {given:02X}H, the bytes add to {want:02X}H"
    )


def end_fault(name: str, data: bytes, first: int, size: int) -> Rejected | None:
    """Hold the end of a frame of `size` bytes against `CS 16H`, the sum running from byte `first`; None where it is right."""
    if data[size - 1] != 0x16:
        return refused(name, Reason.BAD_FRAME, f"ends with {data[size - 1]:02X}H, not 16H")
    return sum_fault(name, data[first : size - 2], data[size - 2])
