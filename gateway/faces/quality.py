"""Whether a picture is good enough to enrol, and what to do better where it is not.

A good one shows one face, large, sharp, straight and well lit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
#: Pixels between the eyes' outer corners; ISO/IEC 19794-5 asks for 90 between the eyes' centres in
#: a passport, 60 is what encoders need.
LEAST_EYES_PX = 60.0
#: Variance of the Laplacian over the face scaled to 128 pixels; contrast and light of the face, 0
#: to 255.
LEAST_SHARP = 40.0
LEAST_CONTRAST = 18.0
DARK = 50.0
BRIGHT = 215.0
#: How far the nose may stand beside the eyes' middle (shares of the distance between the eyes), and
#: the head lean, degrees.
MOST_NOSE_OFFSET = 0.25
MOST_LEAN = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceQuality:
    """What was measured of a face.

    `eyes_px` is the distance between the eyes in pixels. `sharp` is the Laplacian's variance;
    `contrast` and `light` are grey values, 0 to 255. `nose_offset` is a share of the distance
    between the eyes, `lean` is in degrees.
    """

    eyes_px: float
    sharp: float
    contrast: float
    light: float
    nose_offset: float
    lean: float


def measure(
    face: Grey,
    left_eye: tuple[float, float],
    right_eye: tuple[float, float],
    nose: tuple[float, float],
) -> FaceQuality:
    """Measure a face, cut out and grey (rows, columns).

    The eyes (outer corners or centres) and the nose are pixels of the whole picture.
    """
    between = np.array(right_eye) - np.array(left_eye)
    distance = float(np.hypot(*between))
    middle = (np.array(right_eye) + np.array(left_eye)) / 2
    along = float(np.dot(np.array(nose) - middle, between) / max(distance, 1e-6) ** 2)
    step = max(face.shape[0] // 128, 1)
    small = face[::step, ::step].astype(np.float32)
    bend = (
        4 * small[1:-1, 1:-1]
        - small[:-2, 1:-1]
        - small[2:, 1:-1]
        - small[1:-1, :-2]
        - small[1:-1, 2:]
    )
    return FaceQuality(
        eyes_px=distance,
        sharp=float(bend.var()),
        contrast=float(small.std()),
        light=float(small.mean()),
        nose_offset=abs(along),
        lean=abs(float(np.degrees(np.arctan2(between[1], between[0])))),
    )


def advice(faces: Sequence[FaceQuality]) -> list[str]:
    """Return what to do better, for the person who takes the picture; empty where it is good."""
    if not faces:
        return [
            "no face is found: take the picture from the front, in good light, without "
            "mask or sunglasses"
        ]
    if len(faces) > 1:
        return [f"{len(faces)} faces are in the picture: only the person may be in it"]
    face = faces[0]
    wrong = (
        (
            face.eyes_px < LEAST_EYES_PX,
            f"the face is small ({face.eyes_px:.0f} pixels between the eyes, "
            f"{LEAST_EYES_PX:.0f} are needed): come nearer",
        ),
        (
            face.sharp < LEAST_SHARP,
            "the picture is blurred: hold still, clean the lens, give more light",
        ),
        (face.light < DARK, "the face is dark: more light from the front"),
        (face.light > BRIGHT, "the face is burnt out: less light, no flash"),
        (
            face.contrast < LEAST_CONTRAST,
            "the face has little contrast: softer light from the front, no fog on the lens",
        ),
        (face.nose_offset > MOST_NOSE_OFFSET, "the head is turned: look straight into the camera"),
        (face.lean > MOST_LEAN, "the head leans: hold it straight"),
    )
    return [words for fault, words in wrong if fault]
