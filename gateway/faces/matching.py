"""One against few: is this face one of the consenting residents of this entrance?

Distances are Euclidean, between encodings of one engine. Two thresholds and a margin leave room for
"undecided" between "match" and "unknown".

The frames of one passage are fused first. A person's distance is the mean of the better half of the
frames, so that no single frame decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from domain.proportions import Proportion, rate

Encodings = NDArray[np.float32]
#: Residents of one entrance against whom one face is compared: "few" has an end.
MOST_SUBJECTS = 500


class MatchVerdict(StrEnum):
    """What a passage's face says."""

    MATCH = "match"
    UNKNOWN = "unknown"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Distances of an engine: up to `match` is a match, from `unknown` on is nobody.

    The next person must be `margin` further away.
    """

    match: float
    unknown: float
    margin: float
    frames: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchResult:
    """A verdict, the consent that matched, and the best distance.

    `subject` is None unless it is a match; `distance` is None without anybody to compare.
    """

    verdict: MatchVerdict
    subject: str | None = None
    distance: float | None = None
    frames: int = 0


def decide(
    frames: Sequence[Encodings], gallery: Mapping[str, Encodings], thresholds: Thresholds
) -> MatchResult:
    """Compare the encodings of one passage, (d,) a frame, with those of the gallery.

    The gallery has an array of shape (n, d) for each subject.

    Raises: ValueError for a gallery of more than MOST_SUBJECTS.
    """
    if len(gallery) > MOST_SUBJECTS:
        raise ValueError(
            f"{len(gallery)} subjects at one entrance; one against few ends at {MOST_SUBJECTS}"
        )
    if not frames:
        return MatchResult(verdict=MatchVerdict.UNDECIDED)
    if not gallery:
        return MatchResult(
            verdict=MatchVerdict.UNKNOWN
            if len(frames) >= thresholds.frames
            else MatchVerdict.UNDECIDED,
            frames=len(frames),
        )
    probe = np.stack(frames)
    fused = {subject: _fused(probe, known) for subject, known in gallery.items()}
    best, *others = sorted(fused, key=lambda subject: fused[subject])
    distance = fused[best]
    verdict = MatchVerdict.UNDECIDED
    subject = None
    if len(frames) >= thresholds.frames:
        clear = not others or fused[others[0]] - distance >= thresholds.margin
        if distance <= thresholds.match and clear:
            verdict = MatchVerdict.MATCH
            subject = best
        elif distance >= thresholds.unknown:
            verdict = MatchVerdict.UNKNOWN
    return MatchResult(
        verdict=verdict, subject=subject, distance=round(distance, 4), frames=len(frames)
    )


def _fused(probe: Encodings, known: Encodings) -> float:
    """Return the mean distance to the nearest template, over the better half of the frames."""
    apart = np.linalg.norm(probe[:, None, :] - known[None, :, :], axis=2).min(axis=1)
    return float(np.sort(apart)[: (len(apart) + 1) // 2].mean())


# Calibration --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One threshold of a ROC, with its error rates.

    False matches are among pairs of different people, false non-matches among pairs of the same
    one.
    """

    threshold: float
    false_match: Proportion
    false_non_match: Proportion


def roc(people: Mapping[str, Encodings], thresholds: Sequence[float]) -> list[Point]:
    """Return the error rates at each threshold, over every pair of pictures.

    `people` maps a person to encodings of shape (n, d).
    """
    names = sorted(people)
    same = []
    different = []
    for i, name in enumerate(names):
        own = people[name]
        same += [float(np.linalg.norm(own[a] - own[b])) for a in range(len(own)) for b in range(a)]
        for other in names[:i]:
            different += list(np.linalg.norm(own[:, None] - people[other][None], axis=2).ravel())
    genuine = np.array(same)
    impostor = np.array(different)
    return [
        Point(
            threshold=t,
            false_match=rate(int((impostor <= t).sum()), len(impostor)),
            false_non_match=rate(int((genuine > t).sum()), len(genuine)),
        )
        for t in thresholds
    ]
