"""OpenCV's FaceDetectorYN and FaceRecognizerSF with a site's own ONNX files.

Anju ships no model: models have licences and biases of their own.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from gateway.faces.engine import THRESHOLDS, EngineMissing, Face, Picture
from gateway.faces.quality import measure


class OnnxEngine:
    """A site's engine.

    Encodings are scaled to length 1, so that the Euclidean distance follows the cosine: d² = 2 - 2
    cos.
    """

    thresholds = THRESHOLDS["onnx"]

    def __init__(self, detector: Path, recogniser: Path, digest: str) -> None:
        try:
            self._detector = cv2.FaceDetectorYN.create(str(detector), "", (320, 320), 0.8, 0.3, 50)
            self._recogniser = cv2.FaceRecognizerSF.create(str(recogniser), "")
        except cv2.error as error:
            raise EngineMissing(
                f"engine onnx: the files cannot be used: {str(error)[:200]}"
            ) from None
        self.name = f"onnx-{digest[:12].lower()}"

    def faces(self, picture: Picture) -> list[Face]:
        """Return the faces of a picture (RGB), the largest first."""
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        self._detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        _, rows = self._detector.detect(bgr)
        found = []
        grey = np.asarray(picture.mean(axis=2), np.uint8)
        for row in np.asarray(rows if rows is not None else np.zeros((0, 15)), np.float32):
            encoding = np.asarray(
                self._recogniser.feature(self._recogniser.alignCrop(bgr, row)), np.float32
            ).ravel()
            left, top, width, height = (int(value) for value in row[:4])
            cut = grey[max(top, 0) : top + height, max(left, 0) : left + width]
            marks = row[4:14].reshape(5, 2)
            eyes = sorted(
                [(float(marks[0, 0]), float(marks[0, 1])), (float(marks[1, 0]), float(marks[1, 1]))]
            )
            measured = measure(cut, eyes[0], eyes[1], (float(marks[2, 0]), float(marks[2, 1])))
            encoding = encoding / max(float(np.linalg.norm(encoding)), 1e-9)
            found.append(
                Face(
                    box=(top, left + width, top + height, left),
                    encoding=encoding,
                    measured=measured,
                )
            )
        return sorted(found, key=lambda face: -(face.box[2] - face.box[0]))
