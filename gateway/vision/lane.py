"""A lane or an exit that is to stay free: something stands in it, long enough, and later it is gone.

What is asked of the picture is not whether it changed but whether the ground can still be seen. In logarithms light is added, so
a shadow, a lamp or a cloud moves the ground's own grain up or down and leaves it where it was; a car hides it. Where the picture's
slopes are far from the ground's, that is light's own edge, and counts for little when the grain is looked for. Per cell of a few
pixels three things are known: whether the picture's detail (log, high-passed) departs from the empty ground's, beyond a band that
forgives a pixel of shaking; whether it is lighter or darker than the picture as a whole has become; and how well the ground's
grain shows through. A cell is hidden where one of the first two holds and the grain does not show; its age grows while what hides
it keeps still. Passers-by stop an age, they do not reset it; a free ground does.

The ground is learnt anew all the time, but never under what covers it, so that a car which stays for a day does not become ground;
nor where its grain is lost, be there a reason to be seen or not.
Where the ground that was learnt shows outlines and the picture does not, the thing stood there when we began and has left:
that is taken into the ground and nobody is told. Another light altogether (infrared at dusk) is another ground; a few are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.vision.ground import (
    CELL,
    THIN,
    Floats,
    Mask,
    beyond,
    detail_of,
    grain,
    grown,
    level_of,
    per_cell,
    regions,
    share,
    shows_through,
    steepness,
)
from gateway.vision.rules import LaneRule
from gateway.vision.sighting import Sighting

Grey = NDArray[np.uint8]
#: Logarithms of grey; the darkest are noise, and are drawn together.
_LOG = np.log(np.arange(256, dtype=np.float32) + 6)
#: Pictures are looked at this often, around the lane with a margin (shares of its extent), and that at most this wide or high.
EVERY_S, MARGIN, EXTENT = 0.5, 0.2, 320
#: How long the ground is learnt before anything is judged.
LEARN_S = 20.0
#: How fast things are taken over, seconds: the present, the ground, the ground under another light.
FAST_S, GROUND_S, LIGHT_S = 6.0, 60.0, 15.0
#: At which share of that pace edges of light are.
EDGES = 0.1
#: A covered cell that keeps changing this long begins anew; a free ground ends an age after so long.
RESTLESS_S, FREE_S = 30.0, 3.0
#: In the average of the last seconds a thing hides the ground only so long after it came.
LAG_S = 5.0
#: A thing has an outline: steeper than so many times the noise (both logarithms of grey).
FAINT = 25.0
#: By how much (natural logarithms) the grain inside must be more unlike the grain around for what is seen to be a thing.
MORE_APART = 0.2
#: The parts of a thing come to stand within this of each other.
TOGETHER_S = 30.0
#: A region must be at least this share of all that hides the ground and hangs together with it.
LEAST_PART = 0.25
#: The ground shows through where its grain correlates with the picture's at this share of what it usually does there; and where it
#: never does (no grain, too much noise), what departs is held to be hidden.
SHOWS, BLIND = 0.5, 0.3
#: And as it was before it must show clearly, at this share.
CLEARLY = 0.6
#: Where the grain usually shows well and now next to nothing of it does, the ground is hidden by something of its own colour.
GONE = 0.2
#: Lighter or darker by this much, in natural logarithms, beside the picture's own change.
OTHER_LIGHT = 0.25
#: How long a change that leaves the ground visible must keep still before it is taken for another light.
LIT_S = 20.0
#: More than this share of all cells departing for so long is another light or another view, not a thing in the lane.
OTHER_VIEW, OTHER_VIEW_S = 0.6, 5.0
MOST_GROUNDS = 4
#: What the ground looked like is remembered this often, and so many times; and so often what is hidden is looked for in that.
REMEMBER_S, MOST_REMEMBERED, RECALL_S = 300.0, 4, 10.0
#: What has stood for its dwell and so long again without being taken for a thing becomes ground.
WORN_S = 300.0
#: Pixels lighter than this are burnt out: no grain shows there, be it a white car's roof or the sun on the ground.
BURNT = float(np.log(250 + 6))
#: Within how much (natural logarithms) of burnt out the ground must be, by what the light around has become, to be expected so; and how
#: many cells wide around is.
EXPECTED, NEAR = 0.2, 15
#: By how much (natural logarithms) what surrounds a light that burns the picture out is darker at most.
FALLS_OFF = 0.15
#: By how much (natural logarithms) ground must have been darker than burnt out for what is so to be a thing and not a light.
GLARE = 0.5


@dataclass(slots=True)
class _Ground:
    """The empty ground under one kind of light: its detail for every pixel; for each cell how light (log) it is, and how well its grain
    usually shows.
    """

    detail: Floats
    level: Floats
    usual: Floats
    #: As it was before: detail, and how well its grain usually showed.
    earlier: deque[tuple[Floats, Floats]] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))
    remembered_at: float = float("-inf")


@dataclass(slots=True)
class LaneWatch:
    """The detector of one rule. `see` takes the pictures of a stream in order, and looks at two a second."""

    rule: LaneRule
    _recent: deque[Grey] = field(default_factory=lambda: deque(maxlen=3))
    _learning: list[Floats] = field(default_factory=list)
    _grounds: list[_Ground] = field(default_factory=list)
    _fast: Floats | None = None
    _present: Floats | None = None
    _level: Floats | None = None
    _noise: Floats | None = None
    _before: Floats | None = None
    _age: Floats | None = None
    _restless: Floats | None = None
    _free: Floats | None = None
    _lit: Floats | None = None
    _inside: Floats | None = None
    #: Where the cut-out lies in the picture: left, top, width, height, in shares.
    _frame: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    _standing: Mask | None = None
    _gone_since: float | None = None
    _told: Floats | None = None
    _other_since: float | None = None
    _relearn: bool = False
    _restored: _Ground | None = None
    _restored_standing: Mask | None = None
    _seen_at: float = float("-inf")
    _recalled: Mask | None = None
    _recalled_at: float = float("-inf")

    @property
    def covered(self) -> Mask | None:
        """What covers the lane now, as a mask of cells; for people's eyes."""
        return self._standing

    def see(self, t: float, grey: Grey) -> list[Sighting]:
        """Look at a picture (rows x columns, uint8) taken at `t` seconds; returns what turned on or off."""
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
        if not self._grounds or self._relearn:
            return self._learn(log)
        return self._look(t, step, log)

    def _around_lane(self, grey: Grey) -> Grey:
        """Cut out the lane with its margin, at the detector's own scale."""
        rows, columns = grey.shape
        places = np.array(self.rule.polygon)
        low, high = places.min(0), places.max(0)
        room = (high - low) * MARGIN
        left, top = np.maximum((low - room) * [columns, rows], 0).astype(int)
        right, bottom = np.minimum((high + room) * [columns, rows], [columns, rows]).astype(int)
        cut = grey[top:bottom, left:right]
        scale = min(EXTENT / max(cut.shape), 1.0)
        width, height = (max(round(side * scale / CELL), 4) * CELL for side in (cut.shape[1], cut.shape[0]))
        self._frame = (left / columns, top / rows, (right - left) / columns, (bottom - top) / rows)
        return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def forget(self) -> None:
        """Begin anew: the camera was moved."""
        self._recent.clear()
        self._learning.clear()
        self._grounds.clear()
        self._fast = self._present = self._level = self._before = self._age = None

    def saved(self) -> dict[str, NDArray[Any]]:
        """What must survive a restart: the ground by the present light, and what stands on it."""
        if not self._grounds or self._age is None:
            return {}
        standing = self._standing if self._standing is not None else np.zeros((0, 0), bool)
        ground = self._grounds[0]
        return {"detail": ground.detail, "level": ground.level, "usual": ground.usual, "standing": standing}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `saved` gave, where it fits; ground that was learnt before is better than what stands there now."""
        if not {"detail", "level", "usual", "standing"} <= set(saved):
            return
        detail, level, usual = (saved[name].astype(np.float32) for name in ("detail", "level", "usual"))
        self._restored = _Ground(detail, level, usual)
        self._restored_standing = saved["standing"].astype(bool)

    # The ground ------------------------------------------------------------------------------------------------------

    def _learn(self, log: Floats) -> list[Sighting]:
        self._learning.append(log)
        if len(self._learning) < LEARN_S / EVERY_S:
            return []
        stack = np.stack(self._learning[::2])
        ground = np.median(stack, axis=0).astype(np.float32)
        self._learning.clear()
        self._relearn = False
        # How well the ground's grain shows: that of the first half of the time in the second.
        first, second = np.array_split(stack, 2)
        now = second.mean(axis=0, dtype=np.float32)
        valid = np.asarray(now < BURNT, np.float32)
        usual, _, _ = shows_through(detail_of(now), detail_of(np.median(first, axis=0).astype(np.float32)), valid)
        self._grounds.insert(0, _Ground(detail_of(ground), level_of(ground), usual))
        del self._grounds[MOST_GROUNDS:]
        self._fast, self._present, self._level = ground.copy(), detail_of(ground), level_of(ground)
        self._begin_cells(ground.shape)
        self._take_up(ground.shape)
        return []

    def _take_up(self, shape: tuple[int, ...]) -> None:
        """Use the ground of before the restart if it is of this view, and know again what stood on it."""
        restored, self._restored = self._restored, None
        if restored is None or restored.detail.shape != shape or self._present is None or self._noise is None:
            return
        if (share(beyond(self._present, restored.detail, 3 * self._noise + 0.05)) > 0.3).mean() > OTHER_VIEW:
            return
        self._grounds.insert(0, restored)
        if self._restored_standing is not None and self._restored_standing.size:
            self._standing = self._restored_standing
            self._told = None

    def _begin_cells(self, shape: tuple[int, ...]) -> None:
        rows, columns = shape[0] // CELL, shape[1] // CELL
        if self._age is not None and self._age.shape == (rows, columns):
            self._age[:] = 0
            return
        self._age, self._restless, self._free, self._lit = (np.zeros((rows, columns), np.float32) for _ in range(4))
        self._noise = np.full(shape, 0.03, np.float32)
        left, top, width, height = self._frame
        corners = ((np.array(self.rule.polygon) - [left, top]) / [width, height] * [columns, rows] * 16).astype(
            np.int32
        )
        inside = np.zeros((rows * 16, columns * 16), np.uint8)
        cv2.fillPoly(inside, [corners], 1)
        self._inside = np.asarray(
            cv2.resize(inside.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA), np.float32
        )
        self._standing = None

    # A picture -------------------------------------------------------------------------------------------------------

    def _look(self, t: float, step: float, log: Floats) -> list[Sighting]:
        assert self._fast is not None and self._present is not None
        assert self._level is not None and self._noise is not None
        ground = self._grounds[0]
        detail = detail_of(log)
        if self._before is not None:
            moved = np.minimum(np.abs(detail - self._before), 4 * self._noise)
            self._noise += (np.maximum(moved, 0.004) - self._noise) * np.float32(step / 30)
        self._before = detail
        tolerance = 3.0 * self._noise + 0.05
        departs = share(beyond(detail, ground.detail, tolerance)) > 0.3
        if self._another_view(t, departs, detail, tolerance):
            return []
        still = share(beyond(detail, self._present, tolerance)) < 0.25
        # Detail and level are linear, so that their averages are those of the average.
        level, part = level_of(log), np.float32(step / FAST_S)
        self._fast += (log - self._fast) * part
        self._present += (detail - self._present) * part
        self._level += (level - self._level) * part
        changed = departs | self._other_light(ground)
        hidden, weight = self._hidden(step, ground, changed)
        hidden &= ~self._recall(t, hidden)
        self._grow(step, hidden, changed, still)
        found = self._judge(t, hidden)
        self._take_over(step, detail, weight, level, hidden, changed)
        return found

    def _other_light(self, ground: _Ground) -> Mask:
        """Cells that are lighter or darker than the picture as a whole has become."""
        assert self._level is not None
        change = self._level - ground.level
        return np.asarray(np.abs(change - np.median(change)) > OTHER_LIGHT)

    def _hidden(self, step: float, ground: _Ground, changed: Mask) -> tuple[Mask, Floats]:
        """Cells in which the ground's grain does not show as it usually does; and how much each pixel counted in that."""
        assert self._fast is not None and self._present is not None
        assert self._level is not None and self._noise is not None and self._age is not None
        valid, usual = (self._fast < BURNT).astype(np.float32), ground.usual
        shown, weight, burnt = shows_through(self._present, ground.detail, valid)
        # What is hidden stays so until the ground is seen again, be the thing as even and as light as the ground; and something of the
        # ground's own colour may hide it.
        grainy, unseen = usual > 2 * BLIND, shown < SHOWS * usual
        hidden = (unseen & (changed | (grainy & (self._age > 0)))) | (grainy & (shown < GONE * usual))
        blind = changed & (usual < BLIND)
        lit = expected = np.zeros_like(burnt)
        if blind.any() or burnt.any():
            # Ground without grain, or with less than the picture's noise, cannot show.
            bare = grain(ground.detail) < per_cell(self._noise)
            blind &= bare
        if burnt.any():
            # Burning out hides nothing where all the light around has grown so much, nor where light ground is bare.
            expected = burnt & (ground.level + _nearby(self._level - ground.level, ~unseen & ~burnt) > BURNT - EXPECTED)
            lit = expected | (burnt & bare & (ground.level > BURNT - GLARE)) | self._glare(burnt)
        hidden = grown((hidden | blind) & ~lit, grainy & unseen & (~burnt | expected))
        unlike = changed | hidden | (burnt & (ground.level < BURNT - 0.1))
        usual += np.where(unlike, 0, (shown - usual) * np.float32(step / GROUND_S))
        return hidden, weight

    def _glare(self, burnt: Mask) -> Mask:
        """Of burnt-out cells those in the middle of a light, which falls off slowly around them; a white thing ends at an edge."""
        assert self._level is not None
        glare = np.zeros_like(burnt)
        count, areas = cv2.connectedComponents(burnt.astype(np.uint8), connectivity=4)
        for number in range(1, count):
            area = areas == number
            ring = (np.asarray(cv2.dilate(area.astype(np.uint8), np.ones((5, 5), np.uint8))) > 0) & ~burnt
            if ring.any() and np.median(self._level[ring]) > BURNT - FALLS_OFF:
                glare |= area
        return glare

    def _another_view(self, t: float, departs: Mask, detail: Floats, tolerance: Floats) -> bool:
        """Change to a ground that fits, or learn one, where nearly everything departs from this one."""
        if departs.mean() < OTHER_VIEW:
            self._other_since = None
            return False
        if self._other_since is None:
            self._other_since = t
        if t - self._other_since < OTHER_VIEW_S:
            return True
        self._other_since = None
        for number, other in enumerate(self._grounds[1:], 1):
            if (share(beyond(detail, other.detail, tolerance)) > 0.3).mean() < 0.3:
                self._grounds.insert(0, self._grounds.pop(number))
                return True
        self._learning, self._relearn = [], True
        return True

    def _grow(self, step: float, hidden: Mask, changed: Mask, still: Mask) -> None:
        """Let ages grow where something hides the ground and keeps still, and where another light does."""
        assert self._age is not None and self._restless is not None and self._free is not None and self._lit is not None
        self._lit[:] = np.where(changed & ~hidden & still, self._lit + step, 0)
        self._restless[:] = np.where(hidden & ~still, self._restless + step, 0)
        self._free[:] = np.where(hidden, 0, self._free + step)
        came = hidden & still & (self._age == 0)
        self._age[:] = np.where(came, LAG_S, np.where(hidden & still, self._age + step, self._age))
        self._age[(self._free >= FREE_S) | (self._restless >= RESTLESS_S)] = 0

    def _judge(self, t: float, hidden: Mask) -> list[Sighting]:
        assert self._age is not None
        if self._standing is not None:
            return self._still_there(t, hidden)
        worn = self._age >= self.rule.dwell_s + WORN_S
        if worn.any():
            # Nothing came of it: too small or too thin for a thing, so it is a stain, or a mistake of ours in the ground.
            self._absorb(worn)
        old = (self._age >= self.rule.dwell_s).astype(np.uint8)
        if not old.any():
            return []
        _, parts = cv2.connectedComponents((self._age > 0).astype(np.uint8))
        # A thing's parts come of age one after another, but what came much later is another thing that stands before it; and what is
        # thinner than this is an edge of light, not a thing.
        for outline, region in regions(self._age >= max(self.rule.dwell_s / 2, self.rule.dwell_s - TOGETHER_S)):
            if old[region].sum() < max(THIN * THIN, 0.5 * region.sum()):
                continue
            # What is but a small part of something that came later says nothing of how long that stands.
            if region.sum() < LEAST_PART * np.isin(parts, np.unique(parts[region & (old > 0)])).sum():
                continue
            mask = self._in_lane(region)
            width = self._width(mask)
            if width < self.rule.least_width or mask.any(0).sum() < THIN:
                continue
            if self._has_left(mask):
                self._absorb(mask)
                continue
            self._standing, self._gone_since, self._told = mask, None, None
            rows, columns = mask.shape
            places = np.asarray(outline).reshape(-1, 2)
            left, top, wide, high = self._frame
            polygon = [
                (round(left + (x + 0.5) / columns * wide, 3), round(top + (y + 0.5) / rows * high, 3))
                for x, y in places[:40]
            ]
            since = t - float(np.median(self._age[region & (old > 0)]))
            return [Sighting(hazard=self.rule.hazard, state="on", at_s=since, polygon=polygon,
                             data={"width": round(min(width, 1.0), 2), "stood_s": round(t - since)})]  # fmt: skip
        return []

    def _in_lane(self, region: Mask) -> Mask:
        """Keep the columns of a region whose foot, the lowest cell, lies in the lane: what stands beside it may hide a part of it."""
        assert self._inside is not None
        rows = region.shape[0]
        foot = rows - 1 - np.argmax(region[::-1], axis=0)
        columns = np.arange(region.shape[1])
        stands = region.any(0) & (self._inside[foot, columns] >= 0.5)
        return np.asarray(region & stands)

    def _width(self, mask: Mask) -> float:
        """Return how much of the lane's width, along the picture's rows, a region takes at its foot."""
        assert self._inside is not None
        columns = np.flatnonzero(mask.any(0))
        if not len(columns):
            return 0.0
        foot = mask.shape[0] - 1 - np.argmax(mask[::-1, columns], axis=0)
        chord = np.maximum(self._inside.sum(1)[foot], 1.0)
        return float(np.sum(1 / chord))

    def _still_there(self, t: float, hidden: Mask) -> list[Sighting]:
        """What stands is gone when little of its place is hidden for a while, or when only its trace is left in the ground."""
        assert self._standing is not None and self._age is not None
        for _, region in regions(self._age >= self.rule.dwell_s):
            if (region & self._standing).any():
                self._standing = self._standing | self._in_lane(region)
        part, likeness = float(hidden[self._standing].mean()), self._likeness(self._standing)
        # Where the ground that we know is worn (a light, a stain), it must still look like what was told.
        there = part > 0.6 or (part > 0.25 and likeness > 0.3)
        if there and float(self._age[self._standing].max()) > 15 and self._has_left(self._standing):
            self._absorb(self._standing)
            there = False
        if there:
            self._gone_since = None
            return []
        if self._gone_since is None:
            self._gone_since = t
        if t - self._gone_since < self.rule.gone_s:
            return []
        gone, self._standing = self._gone_since, None
        return [Sighting(hazard=self.rule.hazard, state="off", at_s=gone)]

    def _likeness(self, mask: Mask) -> float:
        """Correlation of a region's detail with what it was when it was told; that follows the light slowly."""
        assert self._present is not None
        detail = self._present
        if self._told is None or self._told.shape != detail.shape:
            self._told = detail.copy()
        wide = _pixels(mask)
        now, then = detail[wide], self._told[wide]
        now, then = now - now.mean(), then - then.mean()
        likeness = float(np.dot(now, then) / np.sqrt(np.dot(now, now) * np.dot(then, then) + 1e-9))
        if likeness > 0.6:
            self._told += (detail - self._told) * np.float32(EVERY_S / GROUND_S)
        return likeness

    def _has_left(self, mask: Mask) -> bool:
        """Tell whether it is the ground that has the outline here and not the picture: a thing that we took for ground has left."""
        assert self._present is not None and self._inside is not None and self._noise is not None
        # Within a thing's own area there is no outline to be found, so the holes and notches of what we see of it are closed.
        hull = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))
        whole = np.asarray(cv2.fillConvexPoly(mask.astype(np.uint8), hull, 1))
        wide = _pixels(whole > 0).astype(np.uint8)
        # Beside its edge the ground still shows in a cell's surroundings, so the outline runs up to a cell further out.
        wide = np.asarray(cv2.dilate(wide, np.ones((CELL + 1, CELL + 1), np.uint8)), np.uint8)
        # What bounds the lane (a kerb, a wall) has edges of its own: only the outline within the lane tells.
        lane = np.asarray(cv2.resize(self._inside, wide.shape[::-1], interpolation=cv2.INTER_LINEAR)) >= 0.5
        outline = (np.asarray(cv2.dilate(wide, np.ones((3, 3), np.uint8))) > wide) & lane
        if not outline.any():
            return False
        ground = self._grounds[0].detail
        seen = steepness(self._present, wide, outline)
        if seen < FAINT * float(np.median(self._noise[outline])):
            return True
        if steepness(ground, wide, outline) <= 1.4 * seen:
            return False
        # Lines on the ground that lie close together make an outline of anything. But then it is the ground that is inside as it is around.
        ring = (np.asarray(cv2.dilate(whole, np.ones((7, 7), np.uint8))) > whole) & (self._inside >= 0.5)
        return not ring.any() or _apart(ground, mask, ring) + MORE_APART >= _apart(self._present, mask, ring)

    def _recall(self, t: float, hidden: Mask) -> Mask:
        """Of hidden cells those in which the ground shows as it was before: an edge of light that crept over them left its ghost in what was
        learnt since, and they are free to be learnt anew.
        """
        assert self._present is not None and self._fast is not None
        ground = self._grounds[0]
        if t - ground.remembered_at >= REMEMBER_S:
            ground.earlier.append((ground.detail.copy(), ground.usual.copy()))
            ground.remembered_at = t
        if self._recalled is None or self._recalled.shape != hidden.shape:
            self._recalled = np.zeros_like(hidden)
        if t - self._recalled_at >= RECALL_S:
            self._recalled_at = t
            self._recalled[:] = False
            if hidden.any():
                valid = np.asarray(self._fast < BURNT, np.float32)
                for detail, usual in ground.earlier:
                    shown, _, _ = shows_through(self._present, detail, valid)
                    self._recalled |= hidden & (usual > 2 * BLIND) & (shown >= CLEARLY * usual)
        return hidden & self._recalled

    def _absorb(self, mask: Mask) -> None:
        assert self._present is not None and self._level is not None and self._age is not None
        around = _around(mask)
        self._take(around.astype(np.float32), np.ones_like(self._present), self._present, self._level)
        for detail, _ in self._grounds[0].earlier:
            np.copyto(detail, self._present, where=_pixels(around))
        self._age[mask] = 0

    def _take(self, pace: Floats, weight: Floats, detail: Floats, level: Floats) -> None:
        """Move the ground towards a picture, by a share per cell that runs smoothly from one to the next, and by a weight per pixel."""
        ground = self._grounds[0]
        wide = np.asarray(cv2.resize(pace, detail.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        ground.detail += (detail - ground.detail) * (wide * weight)
        ground.level += (level - ground.level) * pace

    def _take_over(
        self, step: float, detail: Floats, weight: Floats, level: Floats, hidden: Mask, changed: Mask
    ) -> None:
        """Learn on: slowly where nothing changed, faster where another light has lasted, not at all around what hides the ground."""
        assert self._lit is not None
        kept = hidden if self._standing is None else hidden | self._standing
        # The whole of a thing is kept out, also those of its sides that look like ground: what lies within its outline's hull.
        closed = np.asarray(
            cv2.morphologyEx(kept.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8
        )
        outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for outline in outlines:
            if len(outline) > 3:
                cv2.fillConvexPoly(closed, cv2.convexHull(outline), 1)
        kept = np.asarray(cv2.dilate(closed, np.ones((3, 3), np.uint8))) > 0
        pace = np.where(changed, np.where(self._lit >= LIT_S, step / LIGHT_S, 0), step / GROUND_S)
        # Edges of light are learnt far more slowly: most will move on, and would be left behind in it.
        ground, before = self._grounds[0], self._grounds[0].level.copy()
        self._take(np.where(kept, 0, pace).astype(np.float32), np.maximum(weight, EDGES), detail, level)
        if kept.any():
            # What is not learnt grows lighter or darker as the ground around it does.
            ground.level += np.where(kept, _nearby(ground.level - before, ~kept), 0)


def _nearby(values: Floats, known: Mask) -> Floats:
    """The mean of what is known around each cell; of the whole picture's where nothing near is known."""
    count = known.astype(np.float32)
    near, weight = (np.asarray(cv2.blur(one, (NEAR, NEAR)), np.float32) for one in (values * count, count))
    if (weight > 0.05).all():
        return np.asarray(near / weight, np.float32)
    overall = float(np.median(values[known])) if known.any() else 0.0
    return np.asarray(np.where(weight > 0.05, near / np.maximum(weight, 0.05), overall), np.float32)


def _around(mask: Mask) -> Mask:
    """A region with two cells around it."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))) > 0


def _pixels(cells: Mask) -> Mask:
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1)


def _apart(detail: Floats, inside: Mask, around: Mask) -> float:
    """How unlike, in natural logarithms, the strength of a picture's grain is inside a region and around it."""
    strength = np.log(grain(detail) + 1e-4)
    return abs(float(np.median(strength[inside]) - np.median(strength[around])))
