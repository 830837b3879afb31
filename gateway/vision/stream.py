"""Opening a camera's stream or a recording, with every limit explicit, and reading its pictures.

FFmpeg is told which protocols and containers it may use at all, so that a playlist in place of a
film opens nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
#: Pixels of a picture; larger ones are refused. A stream that says nothing for so long is given up.
MOST_PIXELS = 16_000_000
TIMEOUT_MS = 10_000
#: Pictures in a row that cannot be read before a recording is held to be broken.
MOST_BROKEN = 50
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,h264,hevc,image2,rtsp,sdp,rtp,asf"
)


class NotPlayable(Exception):
    """The stream or recording cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFrame:
    """One picture and its time within the stream, seconds."""

    t: float
    picture: Picture


def one_thread() -> None:
    """Have OpenCV work in one thread, since every camera has a process of its own."""
    cv2.setNumThreads(1)


def is_live(url: str) -> bool:
    """Tell whether an address is a camera's and not a file's."""
    return "://" in url


def read(url: str, every_s: float = 0.0) -> Iterator[VideoFrame]:
    """Yield the pictures of a recording or a stream, at least `every_s` apart.

    Pictures in between cost decoding only.

    Raises: NotPlayable, where it cannot be opened or is of a refused kind.
    """
    live = is_live(url)
    if live and not url.startswith(("rtsp://", "rtsps://")):
        raise NotPlayable(f"{_shown(url)}: use rtsp:// or rtsps://, or a file")
    if not live and not Path(url).is_file():
        raise NotPlayable(f"{url}: there is no such file")
    protocols = "rtsp,rtsps,rtp,srtp,tcp,tls,udp" if live else "file"
    options = f"protocol_whitelist;{protocols}|format_whitelist;{_CONTAINERS}"
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = options + ("|rtsp_transport;tcp" if live else "")
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        TIMEOUT_MS,
        cv2.CAP_PROP_N_THREADS,
        1,
    ]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, settings)
    try:
        if not capture.isOpened():
            raise NotPlayable(
                f"{_shown(url)}: cannot be opened; is it a film, or is the camera there "
                "and its password right?"
            )
        yield from _frames(capture, url, every_s)
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture, url: str, every_s: float) -> Iterator[VideoFrame]:
    width, height = (
        capture.get(one) for one in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    if width * height > MOST_PIXELS:
        raise NotPlayable(
            f"{_shown(url)}: pictures of {width:.0f} x {height:.0f}; at most "
            f"{MOST_PIXELS / 1e6:.0f} megapixels are taken"
        )
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0.5 <= rate <= 240 else 25.0
    last = -1.0
    given = float("-inf")
    broken = 0
    while broken < MOST_BROKEN:
        if not capture.grab():
            return
        reported = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        t = reported if reported > last else max(last, 0.0) + 1 / rate
        last = t
        if t - given < every_s - 0.5 / rate:
            continue
        done, picture = capture.retrieve()
        if (
            not done
            or picture is None
            or picture.ndim not in (2, 3)
            or picture.size > 3 * MOST_PIXELS
        ):
            broken += 1
            continue
        broken = 0
        given = t
        yield VideoFrame(t=t, picture=np.asarray(picture, np.uint8))


def _shown(url: str) -> str:
    """An address without its password."""
    head, found, rest = url.partition("://")
    return f"{head}://{rest.rpartition('@')[2]}" if found else url


def write_film(path: Path, pictures: Iterator[tuple[float, Picture]], fps: float) -> int:
    """Write pictures as a film for tests and demonstrations; return how many.

    The film is MPEG-4 Part 2; the name ends in `.mp4`, `.avi` or `.ts`.

    Raises: NotPlayable, where it cannot be written.
    """
    writer: cv2.VideoWriter | None = None
    count = 0
    for _, picture in pictures:
        if writer is None:
            shape = picture.shape[1::-1]
            writer = cv2.VideoWriter(
                str(path),
                cv2.CAP_FFMPEG,
                cv2.VideoWriter.fourcc(*"mp4v"),
                fps,
                shape,
                picture.ndim == 3,
            )
            if not writer.isOpened():
                raise NotPlayable(
                    f"{path}: cannot be written; use a name that ends in .mp4, .avi or .ts"
                )
        writer.write(picture)
        count += 1
    if writer is not None:
        writer.release()
    return count
