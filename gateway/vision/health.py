"""Whether a camera sees at all: covered, moved, blurred, dark, frozen.

Each is judged against what the same camera usually shows, learnt slowly and never from a picture
that is itself in doubt, and must last before it is told. Structure (a coarse picture of edges)
tells a new view from the old one, sharpness (fine detail against coarse contrast) a lens out of
focus, and pictures that are equal to the last bit a stream that stands still.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.vision.sighting import Sighting

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]
EVERY_S = 1.0
WIDTH = 320
#: How long a view is learnt at first, how slowly after, and how long a fault must last before it is
#: told and be over before it ends.
LEARN_S = 30.0
LEARN_ON_S = 1800.0
LASTS_S = 20.0
OVER_S = 10.0
#: A stream is frozen when its pictures have been the same so long. Even a still scene has noise,
#: but encoders drop some of it.
FROZEN_S = 60.0
#: A fault that has lasted so long keeps the rules from judging, before it is told.
DOUBT_S = 3.0
#: Darker than this (of 255) at its 90th percentile is dark; a picture with less contrast than this
#: is covered or blind.
DARK = 22.0
FLAT = 6.0
#: Correlation with the known view under this is another view; sharpness under this share of the
#: usual one is blur.
SAME_VIEW = 0.25
SHARP = 0.35
CONDITIONS = {
    "covered": "tamper",
    "moved": "tamper",
    "blurred": "fault",
    "dark": "fault",
    "frozen": "fault",
}


@dataclass(slots=True)
class CameraHealth:
    """The judge of one camera. `see` takes every picture; it looks at one a second."""

    _view: Floats | None = None
    _sharp: float | None = None
    _learnt_s: float = 0.0
    _last: Grey | None = None
    _same_since: float | None = None
    _since: dict[str, float] = field(default_factory=dict)
    _well_since: dict[str, float] = field(default_factory=dict)
    #: Faults that were told and still hold.
    standing: set[str] = field(default_factory=set)
    _seen_at: float = float("-inf")

    def see(self, t: float, grey: Grey) -> list[Sighting]:
        """Take a picture (rows, columns) at `t` seconds and return which faults began or ended."""
        if t - self._seen_at < EVERY_S - 1e-3:
            return []
        self._seen_at = t
        small = np.asarray(
            cv2.resize(
                grey,
                (WIDTH, max(round(grey.shape[0] * WIDTH / grey.shape[1]), 8)),
                interpolation=cv2.INTER_AREA,
            ),
            np.uint8,
        )
        wrong = self._wrong(t, grey, small)
        found = [
            self._sighting(what, "on", self._since[what]) for what in self._turned_on(t, wrong)
        ]
        found += [
            self._sighting(what, "off", self._well_since[what])
            for what in self._turned_off(t, wrong)
        ]
        return found

    @staticmethod
    def _sighting(what: str, state: str, at_s: float) -> Sighting:
        return Sighting(condition=CONDITIONS[what], state=state, at_s=at_s, detail=what)

    @property
    def blind(self) -> bool:
        """Tell whether rules should not judge what it shows now."""
        return bool(self.standing) or any(
            self._seen_at - since >= DOUBT_S for since in self._since.values()
        )

    def _wrong(self, t: float, grey: Grey, small: Grey) -> set[str]:
        """What is wrong with this picture; at most one cause of several that look alike."""
        wrong: set[str] = set()
        sample = grey[::4, ::4]
        if (
            self._last is not None
            and self._last.shape == sample.shape
            and np.array_equal(self._last, sample)
        ):
            self._same_since = t if self._same_since is None else self._same_since
            if t - self._same_since >= FROZEN_S:
                wrong.add("frozen")
        else:
            self._same_since = None
        self._last = sample.copy()
        view = _view(small)
        contrast = float(small.std())
        sharp = _sharpness(small)
        if float(np.percentile(small, 90)) < DARK:
            return wrong | {"dark"}
        if self._view is None or self._view.shape != view.shape:
            self._view = view
            self._sharp = sharp
            self._learnt_s = 0.0
            return wrong | ({"covered"} if contrast < FLAT else set())
        assert self._sharp is not None
        alike = _alike(view, self._view)
        learning = self._learnt_s < LEARN_S
        if contrast < FLAT or (alike < SAME_VIEW and sharp < SHARP * self._sharp):
            wrong.add("covered")
        elif alike < SAME_VIEW and not learning:
            wrong.add("moved")
        elif sharp < SHARP * self._sharp and not learning:
            wrong.add("blurred")
        elif not wrong:
            pace = EVERY_S / (LEARN_S if learning else LEARN_ON_S)
            self._view = self._view + (view - self._view) * np.float32(
                max(pace, 0.02 if learning else 0.0)
            )
            self._sharp += (sharp - self._sharp) * pace
            self._learnt_s += EVERY_S
        return wrong

    def _turned_on(self, t: float, wrong: set[str]) -> list[str]:
        for what in [one for one in self._since if one not in wrong]:
            del self._since[what]
        started = []
        for what in wrong - self.standing:
            since = self._since.setdefault(what, t)
            if t - since >= LASTS_S or what == "frozen":
                started.append(what)
                self.standing.add(what)
        return started

    def _turned_off(self, t: float, wrong: set[str]) -> list[str]:
        for what in wrong:
            self._well_since.pop(what, None)
        over = []
        for what in self.standing - wrong:
            since = self._well_since.setdefault(what, t)
            if t - since >= OVER_S:
                over.append(what)
        self.standing -= set(over)
        return over

    def accept_view(self) -> None:
        """Take the present view as the right one: a person has moved the camera on purpose."""
        self._view = None


def _view(small: Grey) -> Floats:
    """Return the picture's coarse structure without its light, as (36, 64) cells.

    It is the strength of edges in the logarithm of grey, high-passed.
    """
    log = np.log(small.astype(np.float32) + 8)
    edges = np.asarray(
        cv2.magnitude(cv2.Sobel(log, cv2.CV_32F, 1, 0), cv2.Sobel(log, cv2.CV_32F, 0, 1))
    )
    coarse = np.asarray(
        cv2.resize(cv2.GaussianBlur(edges, (0, 0), 2), (64, 36), interpolation=cv2.INTER_AREA),
        np.float32,
    )
    return np.asarray(coarse - cv2.blur(coarse, (15, 15)), np.float32)


def _alike(a: Floats, b: Floats) -> float:
    """Correlation of two views, the best within a cell of shift."""
    best = -1.0
    core = b[1:-1, 1:-1]
    core = core - core.mean()
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            part = a[dy : dy + core.shape[0], dx : dx + core.shape[1]]
            part = part - part.mean()
            best = max(
                best, float((part * core).sum() / np.sqrt((part**2).sum() * (core**2).sum() + 1e-9))
            )
    return best


def _sharpness(small: Grey) -> float:
    """Fine detail against coarse contrast; light falls out."""
    picture = small.astype(np.float32)
    fine = float(np.abs(cv2.Laplacian(cv2.GaussianBlur(picture, (3, 3), 0), cv2.CV_32F)).mean())
    coarse = float(np.abs(cv2.GaussianBlur(picture, (0, 0), 6) - picture.mean()).mean())
    return fine / (coarse + 4)
