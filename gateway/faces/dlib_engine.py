"""face-recognition: HOG detector, five landmarks, encodings of 128 numbers (dlib's resnet)."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np

from gateway.faces.engine import THRESHOLDS, EngineMissing, Face, Picture
from gateway.faces.quality import measure

#: Detections below this score are folds of cloth as often as faces: on our one real photograph hers
#: has 1.5, a fold of the suit 0.1.
LEAST_SCORE = 0.3


class DlibEngine:
    """The engine of the `faces` extra."""

    name = "dlib-hog-5"
    thresholds = THRESHOLDS["dlib"]

    def __init__(self) -> None:
        try:
            # Where its models are missing the library prints and quits.
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                import dlib
                import face_recognition
        except (ImportError, SystemExit):
            raise EngineMissing(
                "engine dlib: face-recognition or its models are not installed; run `make faces`"
            ) from None
        self._library: Any = face_recognition
        self._detector: Any = dlib.get_frontal_face_detector()

    def faces(self, picture: Picture) -> list[Face]:
        """Return the faces of a picture (RGB), the largest first.

        A face has 80 pixels or more, as before a door camera.
        """
        found_at, _, _ = self._detector.run(picture, 0, LEAST_SCORE)
        rows, columns = picture.shape[:2]
        boxes = [
            (
                max(one.top(), 0),
                min(one.right(), columns),
                min(one.bottom(), rows),
                max(one.left(), 0),
            )
            for one in found_at
        ]
        if not boxes:
            return []
        marks = self._library.face_landmarks(picture, boxes, model="small")
        encodings = self._library.face_encodings(picture, boxes, num_jitters=1, model="small")
        grey = np.asarray(picture.mean(axis=2), np.uint8)
        found = []
        for (top, right, bottom, left), mark, encoding in zip(boxes, marks, encodings, strict=True):
            cut = grey[top:bottom, left:right]
            eyes = [tuple(np.mean(mark[name], axis=0)) for name in ("right_eye", "left_eye")]
            eyes.sort()
            measured = measure(
                cut,
                (eyes[0][0], eyes[0][1]),
                (eyes[1][0], eyes[1][1]),
                tuple(np.mean(mark["nose_tip"], axis=0)),
            )
            found.append(
                Face(
                    box=(top, right, bottom, left),
                    encoding=np.asarray(encoding, np.float32),
                    measured=measured,
                )
            )
        return sorted(found, key=lambda face: -(face.box[2] - face.box[0]))
