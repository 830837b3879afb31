"""A lane or an exit that must stay free: something stands in it, and later it is gone.

`cover` finds what hides the ground and for how long. This module judges whether that is a thing in
the lane. A thing is thick enough, takes enough of the lane's width, stands on it, and has an
outline.

Where the learnt ground shows an outline and the picture does not, the thing was there at the start
and has left. The ground is corrected and nothing is reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.vision.cover import (
    BLIND,
    GROUND_S,
    LEARN_PICTURES,
    STAYED_S,
    Cover,
    CoverObservation,
    Ground,
)
from gateway.vision.ground import (
    CELL,
    THIN,
    Floats,
    Mask,
    grain,
    pixels,
    regions,
    steepness,
    thick,
    widened,
)
from gateway.vision.rules import LaneRule
from gateway.vision.sighting import Sighting

Grey = NDArray[np.uint8]
#: Logarithms of grey; the darkest are noise, and are drawn together.
_LOG = np.log(np.arange(256, dtype=np.float32) + 6)
#: Pictures are looked at this often, around the lane with a margin (shares of its extent), and that
#: at most this wide or high.
EVERY_S = 0.5
MARGIN = 0.2
EXTENT = 320
#: A thing has an outline: steeper than so many times the noise (both logarithms of grey) to be
#: told, and to be told as gone less so than this.
FAINT = 25.0
FAINTER = 12.0
#: By how much (natural logarithms) the grain inside must be more unlike the grain around for what
#: is seen to be a thing.
MORE_APART = 0.2
#: The share of a thing's cells that come at once.
MOST = 0.75
#: The parts of a thing come to stand within this of each other.
TOGETHER_S = 30.0
#: At least this share of a thing's outline must not be hidden by what came later, or it says
#: nothing.
LEAST_SEEN = 0.25
#: How far apart, seconds, what hides a thing's parts may begin; after so much more it may leave as
#: another thing.
AT_ONCE_S = 10.0
#: A thing is there while more than this share of its place is hidden.
THERE = 0.6
#: More than this share of the ground around a thing being changed or hidden: something else is
#: there.
CROWDED = 0.1
#: What has stood for its dwell and so long again without being taken for a thing becomes ground.
WORN_S = 300.0


@dataclass(slots=True)
class LaneWatch:
    """The detector of one rule.

    `see` takes the pictures of a stream in order, and judges two a second.
    """

    rule: LaneRule
    _recent: deque[Grey] = field(default_factory=lambda: deque(maxlen=3))
    _first: list[Floats] = field(default_factory=list)
    _cover: Cover | None = None
    #: How much of each cell lies in the lane; and where the cut-out lies in the picture: left, top,
    #: width, height, in shares.
    _inside: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _frame: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    #: What stands in the lane, what it looked like when it was told, and since when it may be gone.
    _standing: Mask | None = None
    _appearance: Floats | None = None
    _gone_since: float | None = None
    _restored: tuple[Ground, Mask] | None = None
    _seen_at: float = float("-inf")

    @property
    def covered(self) -> Mask | None:
        """What covers the lane now, as a mask of cells; for people's eyes."""
        return self._standing

    def see(self, t: float, grey: Grey) -> list[Sighting]:
        """Take a picture (rows, columns) at `t` seconds and return what began or ended."""
        if t - self._seen_at < EVERY_S - 1e-3:
            return []
        step = min(t - self._seen_at, 4 * EVERY_S) if np.isfinite(self._seen_at) else EVERY_S
        self._seen_at = t
        small = self._around_lane(grey)
        if self._recent and self._recent[-1].shape != small.shape:
            self.forget()
        self._recent.append(small)
        if len(self._recent) < 3:
            return []
        a, b, c = self._recent
        # The middle of three: a drop of rain, an insect, a shaken picture are in one of them only.
        calm = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
        log = np.asarray(cv2.LUT(calm, _LOG), np.float32)
        if self._cover is None:
            self._first.append(log)
            if len(self._first) >= LEARN_PICTURES:
                self._begin()
            return []
        observation = self._cover.observe(t, step, log)
        if observation is None:
            return []
        found = self._judge(t, self._cover, observation)
        self._cover.learn(observation, self._standing)
        return found

    def _around_lane(self, grey: Grey) -> Grey:
        """Cut out the lane with its margin, at the detector's own scale."""
        rows, columns = grey.shape
        places = np.array(self.rule.polygon)
        low = places.min(0)
        high = places.max(0)
        room = (high - low) * MARGIN
        left, top = np.maximum((low - room) * [columns, rows], 0).astype(int)
        right, bottom = np.minimum((high + room) * [columns, rows], [columns, rows]).astype(int)
        cut = grey[top:bottom, left:right]
        scale = min(EXTENT / max(cut.shape), 1.0)
        width, height = (
            max(round(side * scale / CELL), 4) * CELL for side in (cut.shape[1], cut.shape[0])
        )
        self._frame = (left / columns, top / rows, (right - left) / columns, (bottom - top) / rows)
        return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _begin(self) -> None:
        """Learn the ground; use that of before a restart if it is of this view.

        What stood on it then stands there still.
        """
        self._cover = cover = Cover(self._first)
        self._first = []
        rows, columns = cover.age.shape
        left, top, width, height = self._frame
        corners = (
            (np.array(self.rule.polygon) - [left, top]) / [width, height] * [columns, rows] * 16
        ).astype(np.int32)
        inside = np.zeros((rows * 16, columns * 16), np.uint8)
        cv2.fillPoly(inside, [corners], 1)
        self._inside = np.asarray(
            cv2.resize(inside.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA),
            np.float32,
        )
        self._standing = None
        self._appearance = None
        if self._restored is not None:
            ground, standing = self._restored
            self._restored = None
            if cover.take_up(ground) and standing.size:
                self._standing = standing

    def forget(self) -> None:
        """Begin anew: the camera was moved."""
        self._recent.clear()
        self._first.clear()
        self._cover = None

    def saved(self) -> dict[str, NDArray[Any]]:
        """Return what must survive a restart: the present ground, and what stands on it."""
        if self._cover is None:
            return {}
        ground = self._cover.ground
        standing = self._standing if self._standing is not None else np.zeros((0, 0), bool)
        return {
            "detail": ground.detail,
            "level": ground.level,
            "usual": ground.usual,
            "standing": standing,
        }

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `saved` gave, where it fits.

        Ground learnt before a restart is better than what stands there now.
        """
        if not {"detail", "level", "usual", "standing"} <= set(saved):
            return
        detail, level, usual = (
            saved[name].astype(np.float32) for name in ("detail", "level", "usual")
        )
        self._restored = Ground(detail, level, usual), saved["standing"].astype(bool)

    # Judgement ------------------------------------------------------------------------------------

    def _judge(self, t: float, cover: Cover, observation: CoverObservation) -> list[Sighting]:
        if self._standing is not None:
            return self._still_there(t, cover, observation, self._standing)
        worn = cover.age >= self.rule.dwell_s + WORN_S
        if worn.any():
            # It is too small or too thin for a thing: a stain, or an error in the learnt ground.
            cover.absorb(worn)
        old = cover.age >= self.rule.dwell_s
        if not old.any():
            return []
        # The parts of one thing reach the dwell time one after another. A part that came much
        # later belongs to another thing, which stands in front.
        young_limit = max(self.rule.dwell_s / 2, self.rule.dwell_s - TOGETHER_S)
        for outline, region in regions(cover.age >= young_limit):
            # A region may join a thing beside the lane with one in it. Only the columns in the
            # lane count, since the other thing may have come earlier.
            mask = self._in_lane(region)
            if not self._may_block(cover, observation, mask, old):
                continue
            others = thick((cover.age > 0) & ~widened(region, 1))
            left = self._has_left(cover, mask, FAINT, others)
            if left is None:
                continue
            if left:
                cover.absorb(mask)
                continue
            since = self._alone_since(cover, mask, t - float(np.median(cover.age[mask & old])))
            if t - since >= self.rule.dwell_s:
                return [self._block(t, since, mask, outline)]
        return []

    def _may_block(
        self, cover: Cover, observation: CoverObservation, mask: Mask, old: Mask
    ) -> bool:
        """Tell whether a region is old, still hidden, came at once, and is wide enough."""
        if old[mask].sum() <= 0.5 * mask.sum():
            return False
        if (observation.hidden | observation.glaring)[mask].mean() <= THERE:
            return False
        if _creeps(cover, mask):
            return False
        # A region thinner than THIN is an edge of light.
        return self._width(mask) >= self.rule.least_width and bool(mask.any(0).sum() >= THIN)

    def _block(self, t: float, since: float, mask: Mask, outline: NDArray[np.int32]) -> Sighting:
        """Remember what stands in the lane and return its sighting."""
        self._standing = mask
        self._gone_since = None
        self._appearance = None
        width = self._width(mask)
        return Sighting(
            hazard=self.rule.hazard,
            state="on",
            at_s=since,
            polygon=self._polygon(outline),
            data={"width": round(min(width, 1.0), 2), "stood_s": round(t - since)},
        )

    @staticmethod
    def _alone_since(cover: Cover, mask: Mask, since: float) -> float:
        """Return when a thing was first seen (seconds), given when its place was first hidden.

        Another thing may have stood before it: most of what was hidden since then is free again,
        and what is here changed at that time.
        """
        begun, ended = cover.left
        gone = (np.abs(begun - since) <= AT_ONCE_S) & (ended - since >= STAYED_S)
        _, parts = cv2.connectedComponents((gone | mask).astype(np.uint8))
        gone &= np.isin(parts, np.unique(parts[mask]))
        if gone.sum() <= mask.sum():
            return since
        alone = float(np.median(ended[gone]))
        return alone if (cover.became[mask] >= alone - AT_ONCE_S).mean() > 0.5 else since

    def _polygon(self, outline: NDArray[np.int32]) -> list[tuple[float, float]]:
        """An outline of cells in shares of the picture."""
        rows, columns = self._inside.shape
        left, top, wide, high = self._frame
        return [
            (round(left + (x + 0.5) / columns * wide, 3), round(top + (y + 0.5) / rows * high, 3))
            for x, y in outline.reshape(-1, 2)[:40]
        ]

    def _in_lane(self, region: Mask) -> Mask:
        """Keep the columns of a region whose lowest cell lies in the lane.

        What stands beside the lane may hide a part of it.
        """
        rows = region.shape[0]
        foot = rows - 1 - np.argmax(region[::-1], axis=0)
        columns = np.arange(region.shape[1])
        stands = region.any(0) & (self._inside[foot, columns] >= 0.5)
        return np.asarray(region & stands)

    def _width(self, mask: Mask) -> float:
        """Return the share of the lane's width that a region takes at its foot, along rows."""
        columns = np.flatnonzero(mask.any(0))
        if not len(columns):
            return 0.0
        foot = mask.shape[0] - 1 - np.argmax(mask[::-1, columns], axis=0)
        chord = np.maximum(self._inside.sum(1)[foot], 1.0)
        return float(np.sum(1 / chord))

    def _still_there(
        self, t: float, cover: Cover, observation: CoverObservation, standing: Mask
    ) -> list[Sighting]:
        """Return a sighting when what stood in the lane has gone.

        It has gone when little of its place is hidden for a while, or when only its trace is left
        in the ground. While light hides the place, it cannot be seen to go.
        """
        for _, region in regions(cover.age >= self.rule.dwell_s):
            if (region & standing).any():
                standing = standing | self._in_lane(region)
        self._standing = standing
        part = float((observation.hidden | observation.glaring)[standing].mean())
        likeness = self._likeness(cover.detail, standing)
        # Where the ground that we know is worn (a light, a stain), it must still look like what was
        # told.
        there = part > THERE or (part > 0.25 and likeness > 0.3)
        # While others pass or stand before it, its outline is theirs.
        left = (
            there
            and float(cover.age[standing].max()) > 15
            and not _crowded(observation, standing)
            and bool(self._has_left(cover, standing, FAINTER))
        )
        if there and not left:
            self._gone_since = None
            return []
        if self._gone_since is None:
            self._gone_since = t
        if t - self._gone_since < self.rule.gone_s:
            return []
        if left:
            cover.absorb(standing)
        gone = self._gone_since
        self._standing = None
        return [Sighting(hazard=self.rule.hazard, state="off", at_s=gone)]

    def _likeness(self, detail: Floats, mask: Mask) -> float:
        """Return the correlation of a region's detail with that of when it was reported.

        The remembered detail follows the light slowly.
        """
        if self._appearance is None or self._appearance.shape != detail.shape:
            self._appearance = detail.copy()
        wide = pixels(mask)
        now = detail[wide]
        then = self._appearance[wide]
        now = now - now.mean()
        then = then - then.mean()
        likeness = float(np.dot(now, then) / np.sqrt(np.dot(now, now) * np.dot(then, then) + 1e-9))
        if likeness > 0.6:
            self._appearance += (detail - self._appearance) * np.float32(EVERY_S / GROUND_S)
        return likeness

    def _has_left(
        self, cover: Cover, mask: Mask, faint: float, others: Mask | None = None
    ) -> bool | None:
        """Tell whether the ground has the outline here and the picture has not.

        Then a thing that was taken for ground has left. `others` are things beside it; the answer
        is None where they hide too much of the outline.
        """
        # Within a thing's own area there is no outline to be found, so the holes and notches of
        # what we see of it are closed.
        hull = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))
        whole = np.asarray(cv2.fillConvexPoly(mask.astype(np.uint8), hull, 1))
        # Beside its edge the ground still shows in a cell's surroundings, so the outline runs up to
        # a cell further out.
        square = np.ones((CELL + 1, CELL + 1), np.uint8)
        wide = np.asarray(cv2.dilate(pixels(whole > 0).astype(np.uint8), square), np.uint8)
        # What bounds the lane (a kerb, a wall) has edges of its own: only the outline within the
        # lane tells.
        lane = (
            np.asarray(cv2.resize(self._inside, wide.shape[::-1], interpolation=cv2.INTER_LINEAR))
            >= 0.5
        )
        outline = (np.asarray(cv2.dilate(wide, np.ones((3, 3), np.uint8))) > wide) & lane
        if not outline.any():
            return False
        if others is not None and others.any():
            around = outline.sum()
            outline &= ~pixels(widened(others, 2))
            if outline.sum() < LEAST_SEEN * around:
                return None
        seen = steepness(cover.detail, wide, outline)
        if seen < faint * float(np.median(cover.noise[outline])):
            return True
        if steepness(cover.ground.detail, wide, outline) <= 1.4 * seen:
            return False
        # Lines on the ground that lie close together make an outline of anything. But then it is
        # the ground that is inside as it is around.
        ring = widened(whole > 0, 3) & (whole == 0) & (self._inside >= 0.5)
        if not ring.any():
            return True
        return _apart(cover.ground.detail, mask, ring) + MORE_APART >= _apart(
            cover.detail, mask, ring
        )


def _crowded(observation: CoverObservation, mask: Mask) -> bool:
    """Tell whether the ground around a region has changed too.

    The ring next to the region's own edges is left out.
    """
    ring = widened(mask, 5) & ~widened(mask, 2)
    return (
        bool(ring.any())
        and float((observation.changed | observation.hidden)[ring].mean()) > CROWDED
    )


def _creeps(cover: Cover, mask: Mask) -> bool:
    """Tell whether ground without grain was hidden cell by cell, as an edge of light does.

    A thing comes at once. Ground with grain tells light from a thing by itself.
    """
    ages = cover.age[mask]
    at_once = np.abs(ages - np.median(ages)) <= AT_ONCE_S
    return bool((cover.ground.usual[mask] < BLIND).mean() > 0.5 and at_once.mean() < MOST)


def _apart(detail: Floats, inside: Mask, around: Mask) -> float:
    """Return how unlike the grain's strength is inside and around, in natural logarithms."""
    strength = np.log(grain(detail) + 1e-4)
    return abs(float(np.median(strength[inside]) - np.median(strength[around])))
