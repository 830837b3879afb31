"""Clips: the seconds around a sighting, kept on the estate's disk for the reviewer.

A ring in memory keeps the last seconds as JPEG, bounded in seconds and bytes. A sighting makes a
still picture, with what was seen drawn into it, and an animated WebP. A folder keeps them up to a
size and an age; the oldest are deleted first.
"""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.vision.sighting import Sighting

Picture = NDArray[np.uint8]
WIDTH = 640
QUALITY = 70
#: The ring's limits, and how many pictures of it a clip holds.
BEFORE_S = 10.0
AFTER_S = 4.0
MOST_BYTES = 16 * 1024 * 1024
MOST_PICTURES = 120
RED = (40, 40, 230)
YELLOW = (0, 220, 255)


def small(picture: Picture) -> Picture:
    """Scale a picture to a clip's width; grey stays grey."""
    rows, columns = picture.shape[:2]
    if columns <= WIDTH:
        return picture
    return np.asarray(
        cv2.resize(picture, (WIDTH, round(rows * WIDTH / columns)), interpolation=cv2.INTER_AREA),
        np.uint8,
    )


@dataclass(slots=True)
class Ring:
    """The last seconds of one camera."""

    every_s: float
    _kept: deque[tuple[float, bytes]] = field(default_factory=deque)
    _bytes: int = 0

    def add(self, t: float, picture: Picture) -> None:
        """Keep a picture, if the last one is old enough."""
        if self._kept and t - self._kept[-1][0] < self.every_s - 1e-3:
            return
        done, jpeg = cv2.imencode(".jpg", small(picture), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done:
            return
        self._kept.append((t, jpeg.tobytes()))
        self._bytes += len(self._kept[-1][1])
        while self._kept and (
            self._bytes > MOST_BYTES or t - self._kept[0][0] > BEFORE_S + AFTER_S
        ):
            self._bytes -= len(self._kept.popleft()[1])

    def between(self, low: float, high: float) -> list[tuple[float, bytes]]:
        """Return the pictures of a span, thinned to what a clip holds."""
        found = [one for one in self._kept if low <= one[0] <= high]
        step = max(1, -(-len(found) // MOST_PICTURES))
        return found[::step]


@dataclass(frozen=True, slots=True)
class ClipFolder:
    """One camera's clips on disk."""

    folder: Path
    max_bytes: int
    keep_days: float

    def name(self, now: datetime) -> str:
        """Make a clip's name; it cannot be guessed."""
        return f"{now.astimezone(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(6)}"

    def save(self, name: str, still: Picture, pictures: list[tuple[float, bytes]]) -> None:
        """Write the still and the clip, each whole or not at all, and make room."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done, jpeg = cv2.imencode(".jpg", small(still), [cv2.IMWRITE_JPEG_QUALITY, 85])
        if done:
            self._put(f"{name}.jpg", jpeg.tobytes())
        if len(pictures) > 1:
            clip = cv2.Animation()
            read = [
                cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
                for _, jpeg in pictures
            ]
            clip.frames = [picture for picture in read if picture is not None]
            times = [t for t, _ in pictures]
            gaps = [
                max(int((b - a) * 1000), 20)
                for a, b in zip(times, [*times[1:], times[-1] + 0.5], strict=True)
            ]
            clip.durations = gaps
            done, body = cv2.imencodeanimation(".webp", clip, [cv2.IMWRITE_WEBP_QUALITY, 60])
            if done:
                self._put(f"{name}.webp", body.tobytes())
        self.make_room(datetime.now(UTC))

    def _put(self, name: str, body: bytes) -> None:
        part = self.folder / f".{name}.part"
        part.write_bytes(body)
        part.replace(self.folder / name)

    def make_room(self, now: datetime) -> int:
        """Delete what is too old or too much; returns how many files went."""
        if not self.folder.is_dir():
            return 0
        files = sorted(
            (path for path in self.folder.iterdir() if path.is_file()),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
        total = 0
        gone = 0
        for path in files:
            found = path.stat()
            total += found.st_size
            if total > self.max_bytes or now.timestamp() - found.st_mtime > self.keep_days * 86_400:
                path.unlink(missing_ok=True)
                gone += 1
        return gone


def annotated(
    picture: Picture, sighting: Sighting, lanes: list[list[tuple[float, float]]]
) -> Picture:
    """Draw a sighting into a copy of a picture, and return it as BGR.

    The lane is yellow. What blocks it, and the path of what fell, are red.
    """
    drawn = np.asarray(
        cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture.copy(), np.uint8
    )
    rows, columns = drawn.shape[:2]
    thick = max(1, columns // 480)

    def corners(places: list[tuple[float, float]]) -> NDArray[np.int32]:
        return (np.array(places) * [columns, rows]).astype(np.int32).reshape(-1, 1, 2)

    for lane in lanes:
        cv2.polylines(drawn, [corners(lane)], True, YELLOW, thick)
    if len(sighting.polygon) > 2:
        cv2.polylines(drawn, [corners(sighting.polygon)], True, RED, 2 * thick)
    for place in sighting.path:
        cv2.circle(drawn, (int(place[0] * columns), int(place[1] * rows)), 3 * thick, RED, thick)
    words = f"{sighting.hazard or sighting.detail} {sighting.state}"
    cv2.putText(
        drawn,
        words,
        (8, rows - 10),
        cv2.FONT_HERSHEY_SIMPLEX,
        columns / 1000,
        (0, 0, 0),
        3 * thick,
        cv2.LINE_AA,
    )
    cv2.putText(
        drawn,
        words,
        (8, rows - 10),
        cv2.FONT_HERSHEY_SIMPLEX,
        columns / 1000,
        (255, 255, 255),
        thick,
        cv2.LINE_AA,
    )
    return drawn
