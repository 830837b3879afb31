"""The faces extra installs from wheels and works.

Nothing of it is used before an estate turns faces on.
"""

from __future__ import annotations

import importlib.util

import pytest


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition") is None,
    reason="the faces extra is not installed: `make faces`",
)
@pytest.mark.filterwarnings("ignore")
def test_faces_find_none_in_noise_and_opencv_has_what_we_use() -> None:
    import cv2
    import face_recognition
    import numpy as np

    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert face_recognition.face_locations(noise) == []
    assert hasattr(cv2, "FaceDetectorYN") and hasattr(cv2, "createBackgroundSubtractorMOG2")
