"""What a face engine is: it finds faces and encodes them.

Two engines are here: face-recognition (dlib), and OpenCV with a site's own ONNX files.

face-recognition's model was trained on few Chinese faces and for small galleries, as its
maintainers say. Thresholds therefore belong to an engine and to the people on whom they were
measured (`anju faces roc`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import UserError
from gateway.faces.matching import Thresholds
from gateway.faces.quality import FaceQuality

Picture = NDArray[np.uint8]
#: The distances each kind begins with, before a site has measured its own. face-recognition's own
#: tolerance is 0.6, and its documentation advises less for fewer false matches; OpenCV's own limit
#: for its SFace model is a cosine of 0.363, a distance of 1.129.
THRESHOLDS = {
    "dlib": Thresholds(match=0.50, unknown=0.62, margin=0.05),
    "onnx": Thresholds(match=1.05, unknown=1.20, margin=0.05),
}


class EngineMissing(UserError):
    """The engine cannot be used; the message says what to install or which file is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One face: its box (top, right, bottom, left, pixels), its encoding (d,), and its quality."""

    box: tuple[int, int, int, int]
    encoding: NDArray[np.float32]
    measured: FaceQuality


class FaceEngine(Protocol):
    """Finds and encodes faces. Encodings of one engine can be compared with each other only."""

    @property
    def name(self) -> str:
        """What tells this engine and its files from any other."""

    @property
    def thresholds(self) -> Thresholds:
        """The distances it starts with, before a site has measured its own."""

    def faces(self, picture: Picture) -> list[Face]:
        """Return the faces of a picture (RGB), the largest first."""


def make(
    kind: str,
    detector: Path | None = None,
    recogniser: Path | None = None,
    sums: tuple[str, str] = ("", ""),
) -> FaceEngine:
    """Make an engine: `dlib`, or `onnx` with a site's files and their SHA-256.

    Raises: EngineMissing.
    """
    if kind == "dlib":
        from gateway.faces.dlib_engine import DlibEngine

        return DlibEngine()
    if kind == "onnx":
        if detector is None or recogniser is None:
            raise EngineMissing("engine onnx: name detector and recogniser, with their SHA-256")
        for path, expected in zip((detector, recogniser), sums, strict=True):
            check_sum(path, expected)
        from gateway.faces.onnx_engine import OnnxEngine

        return OnnxEngine(detector, recogniser, sums[1])
    raise EngineMissing(f"engine {kind!r}: use dlib or onnx")


def check_sum(path: Path, expected: str) -> None:
    """See that a model's file is the one that was meant.

    Raises: EngineMissing.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineMissing(f"{path.name}: cannot be read: {error.strerror}") from None
    if found != expected.lower():
        raise EngineMissing(
            f"{path.name}: its SHA-256 is {found}, not the one of the configuration; put "
            "the right file there, or its sum"
        )
