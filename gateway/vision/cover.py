"""What hides a lane's ground, cell by cell, and for how long.

What is asked of the picture is not whether it changed but whether the ground can still be seen. In
logarithms light is added, so a shadow, a lamp or a cloud moves the ground's own grain up or down
and leaves it where it was; a car hides it. Where the picture's slopes are far from the ground's,
that is light's own edge, and counts for little when the grain is looked for. Per cell of a few
pixels three things are known: whether the picture's detail (log, high-passed) departs from the
empty ground's, beyond a band that forgives a pixel of shaking; whether it is lighter or darker than
the picture as a whole has become; and how well the ground's grain shows through. A cell is hidden
where one of the first two holds and the grain does not show; its age grows while what hides it
keeps still. Passers-by stop an age, they do not reset it, and it counts what they took where the
same is there after them; a free ground ends it.

The ground is learnt anew all the time, but never under what covers it, so that a car which stays
for a day does not become ground; nor where its grain is lost, be there a reason to be seen or not.
What it was like in the last minutes is remembered, since an edge of light that creeps leaves its
ghost in what is learnt. Another light altogether (infrared at dusk) is another ground; a few are
kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from gateway.vision.ground import (
    CELL,
    Floats,
    Mask,
    beyond,
    closed,
    detail_of,
    grain,
    grown,
    level_of,
    per_cell,
    pixels,
    share,
    shows_through,
    widened,
)

#: How fast things are taken over, seconds: the present, the ground, the ground under another light.
FAST_S = 6.0
GROUND_S = 60.0
LIGHT_S = 15.0
#: At which share of that pace edges of light are.
EDGES = 0.1
#: How long the ground is learnt before anything is hidden, in looks.
LEARN_PICTURES = 40
#: A covered cell that keeps changing this long begins anew; a free ground ends an age after so
#: long.
RESTLESS_S = 30.0
FREE_S = 3.0
#: What hid the ground this long and left is remembered.
STAYED_S = 15.0
#: In the average of the last seconds a thing hides the ground only so long after it came.
LAG_S = 5.0
#: The ground shows through where its grain correlates with the picture's at this share of what it
#: usually does there; and where it never does (no grain, too much noise), what departs is held to
#: be hidden.
SHOWS = 0.5
BLIND = 0.3
#: And as it was before it must show clearly, at this share.
CLEARLY = 0.6
#: Where the grain usually shows well and now next to nothing of it does, the ground is hidden by
#: something of its own colour.
GONE = 0.2
#: Lighter or darker by this much, in natural logarithms, beside the picture's own change.
OTHER_LIGHT = 0.25
#: How long a change that leaves the ground visible must keep still before it is taken for another
#: light.
LIT_S = 20.0
#: More than this share of all cells departing for so long is another light or another view, not a
#: thing in the lane.
OTHER_VIEW = 0.6
OTHER_VIEW_S = 5.0
MOST_GROUNDS = 4
#: What the ground looked like is remembered this often, and so many times; and so often what is
#: hidden is looked for in that.
REMEMBER_S = 300.0
MOST_REMEMBERED = 4
RECALL_S = 10.0
#: Pixels lighter than this are burnt out: no grain shows there, be it a white car's roof or the sun
#: on the ground.
BURNT = float(np.log(250 + 6))
#: Within how much (natural logarithms) of burnt out the ground must be, by what the light around
#: has become, to be expected so; and how many cells wide around is.
EXPECTED = 0.2
NEAR = 15
#: By how much (natural logarithms) what surrounds a light that burns the picture out is darker at
#: most.
FALLS_OFF = 0.15
#: By how much (natural logarithms) ground must have been darker than burnt out for what is so to be
#: a thing and not a light.
GLARE = 0.5


@dataclass(slots=True)
class Ground:
    """The empty ground under one kind of light.

    `detail` is per pixel. `level` (log of grey) and `usual`, how well the grain usually shows, are
    per cell.
    """

    detail: Floats
    level: Floats
    usual: Floats
    #: As it was before: detail, and how well its grain usually showed.
    earlier: deque[tuple[Floats, Floats]] = field(
        default_factory=lambda: deque(maxlen=MOST_REMEMBERED)
    )
    remembered_at: float = float("-inf")

    def move(self, pace: Floats, weight: Floats, detail: Floats, level: Floats) -> None:
        """Move towards a picture, by a share per cell (`pace`) and a weight per pixel.

        The share is interpolated between cells.
        """
        wide = np.asarray(
            cv2.resize(pace, detail.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32
        )
        self.detail += (detail - self.detail) * (wide * weight)
        self.level += (level - self.level) * pace


@dataclass(frozen=True, slots=True)
class CoverObservation:
    """What one picture shows: detail and weight per pixel, the rest per cell.

    `hidden` marks cells whose ground is covered. `glaring` marks cells in which light hides
    whatever is there. `changed` marks cells that differ from the ground.
    """

    step: float
    detail: Floats
    level: Floats
    weight: Floats
    hidden: Mask
    glaring: Mask
    changed: Mask


class Cover:
    """The ground of one lane and what hides it.

    Pictures are logarithms of grey, all of one shape, whole cells wide and high.

    Per cell, `age` is how long (seconds) something still has hidden it. `became` is when that last
    changed, and `left` from when to when the thing before hid it. `detail` and `level` are averages
    of the last seconds. `noise` is the difference between the detail of two pictures.
    """

    def __init__(self, pictures: list[Floats]) -> None:
        """Learn the ground from LEARN_LOOKS pictures."""
        shape = pictures[0].shape
        cells = (shape[0] // CELL, shape[1] // CELL)
        self.age, self._paused, self._restless, self._free, self._lit = (
            np.zeros(cells, np.float32) for _ in range(5)
        )
        #: What hides each cell, as it was when it last kept still: detail, and how light beside the
        #: picture as a whole.
        self._kept = np.zeros(shape, np.float32)
        self._kept_level = np.zeros(cells, np.float32)
        self._waits = np.zeros(cells, bool)
        self.left = np.full((2, *cells), -np.inf)
        self.became = np.full(cells, -np.inf)
        self.noise = np.full(shape, 0.03, np.float32)
        self._grounds: list[Ground] = []
        self._before: Floats | None = None
        self._recalled = np.zeros(cells, bool)
        self._recalled_at = float("-inf")
        self._other_since: float | None = None
        self._learning: list[Floats] | None = None
        self._learn(pictures)

    @property
    def ground(self) -> Ground:
        """The ground under the present light."""
        return self._grounds[0]

    def take_up(self, ground: Ground) -> bool:
        """Use a ground of before if it is of this view; return whether it is."""
        if ground.detail.shape != self.detail.shape:
            return False
        if _departs(self.detail, ground, self._tolerance()).mean() > OTHER_VIEW:
            return False
        self._grounds.insert(0, ground)
        return True

    def _learn(self, pictures: list[Floats]) -> None:
        stack = np.stack(pictures[::2])
        log = np.median(stack, axis=0).astype(np.float32)
        # How well the ground's grain shows: that of the first half of the time in the second.
        first, second = np.array_split(stack, 2)
        now = second.mean(axis=0, dtype=np.float32)
        before = detail_of(np.median(first, axis=0).astype(np.float32))
        usual, _, _ = shows_through(detail_of(now), before, _valid(now))
        self._grounds.insert(0, Ground(detail_of(log), level_of(log), usual))
        del self._grounds[MOST_GROUNDS:]
        self._log = log
        self.detail = detail_of(log)
        self.level = level_of(log)
        self.age[:] = 0
        self._learning = None

    def observe(self, t: float, step: float, log: Floats) -> CoverObservation | None:
        """Compare a picture taken at `t` with the ground, `step` seconds after the one before.

        Returns None while the light or the view is another one.
        """
        if self._learning is not None:
            self._learning.append(log)
            if len(self._learning) >= LEARN_PICTURES:
                self._learn(self._learning)
            return None
        detail = detail_of(log)
        if self._before is not None:
            moved = np.minimum(np.abs(detail - self._before), 4 * self.noise)
            self.noise += (np.maximum(moved, 0.004) - self.noise) * np.float32(step / 30)
        self._before = detail
        tolerance = self._tolerance()
        departs = _departs(detail, self.ground, tolerance)
        if self._another_view(t, departs, detail, tolerance):
            return None
        still = _same(detail, self.detail, tolerance)
        # Detail and level are linear, so that their averages are those of the average.
        level = level_of(log)
        part = np.float32(step / FAST_S)
        steady = still & ~_other_light(level, self.level)
        self._log += (log - self._log) * part
        self.detail += (detail - self.detail) * part
        self.level += (level - self.level) * part
        changed = departs | _other_light(self.level, self.ground.level)
        hidden, glaring, weight = self._hidden(step, changed)
        hidden &= ~self._recall(t, hidden)
        self._grow(t, step, hidden, glaring, changed, still)
        self._compare(t, step, hidden & still, hidden & steady, detail, tolerance)
        return CoverObservation(step, detail, level, weight, hidden, glaring, changed)

    def _another_view(self, t: float, departs: Mask, detail: Floats, tolerance: Floats) -> bool:
        """Tell whether nearly everything differs from the ground.

        After some seconds of it, change to a known ground that fits, or begin to learn a new one.
        """
        if departs.mean() < OTHER_VIEW:
            self._other_since = None
            return False
        if self._other_since is None:
            self._other_since = t
        if t - self._other_since < OTHER_VIEW_S:
            return True
        self._other_since = None
        for number, other in enumerate(self._grounds[1:], 1):
            if _departs(detail, other, tolerance).mean() < 0.3:
                self._grounds.insert(0, self._grounds.pop(number))
                return True
        self._learning = []
        return True

    def _hidden(self, step: float, changed: Mask) -> tuple[Mask, Mask, Floats]:
        """Return the hidden cells, the glaring cells, and how much each pixel counted.

        A cell is hidden where the ground's grain does not show as it usually does. It is glaring
        where light lets no grain show.
        """
        ground = self.ground
        usual = self.ground.usual
        shown, weight, burnt = shows_through(self.detail, ground.detail, _valid(self._log))
        # What is hidden stays so until the ground is seen again, be the thing as even and as light
        # as the ground; and something of the ground's own colour may hide it.
        grainy = usual > 2 * BLIND
        unseen = shown < SHOWS * usual
        hidden = (unseen & (changed | (grainy & (self.age > 0)))) | (
            grainy & (shown < GONE * usual)
        )
        blind = changed & (usual < BLIND)
        lit = expected = np.zeros_like(burnt)
        if blind.any() or burnt.any():
            # Ground without grain, or with less than the picture's noise, cannot show.
            bare = grain(ground.detail) < per_cell(self.noise)
            blind &= bare
        if burnt.any():
            # Burning out hides nothing where all the light around has grown so much, nor where
            # light ground is bare.
            expected = burnt & (
                ground.level + _nearby(self.level - ground.level, ~unseen & ~burnt)
                > BURNT - EXPECTED
            )
            glare, expected = self._glare(burnt, expected)
            lit = expected | glare | (burnt & bare & (ground.level > BURNT - GLARE))
        hidden = grown((hidden | blind) & ~lit, grainy & unseen & (~burnt | expected))
        unlike = changed | hidden | (burnt & (ground.level < BURNT - 0.1))
        usual += np.where(unlike, 0, (shown - usual) * np.float32(step / GROUND_S))
        return hidden, lit & ~hidden, weight

    def _tolerance(self) -> Floats:
        return 3.0 * self.noise + 0.05

    def _glare(self, burnt: Mask, expected: Mask) -> tuple[Mask, Mask]:
        """Return which burnt-out areas are a light, and which are to be expected.

        A light falls off slowly around it, while a white thing ends at an edge. An area is expected
        where most of it is: the sun's patch has moved on.
        """
        glare = np.zeros_like(burnt)
        expected = expected.copy()
        # A line or a twig's shadow does not part the sun's area.
        count, areas = cv2.connectedComponents(closed(burnt).astype(np.uint8))
        for number in range(1, count):
            area = burnt & (areas == number)
            ring = widened(area, 2) & ~burnt
            if ring.any() and np.median(self.level[ring]) > BURNT - FALLS_OFF:
                glare |= area
            if expected[area].mean() > 0.5:
                expected |= area
        return glare, expected

    def _recall(self, t: float, hidden: Mask) -> Mask:
        """Return the hidden cells in which the ground shows as it was before.

        An edge of light that crept over them spoilt what was learnt since. They are learnt anew.
        """
        ground = self.ground
        if t - ground.remembered_at >= REMEMBER_S:
            ground.earlier.append((ground.detail.copy(), ground.usual.copy()))
            ground.remembered_at = t
        if t - self._recalled_at >= RECALL_S:
            self._recalled_at = t
            self._recalled[:] = False
            if hidden.any():
                valid = _valid(self._log)
                for detail, usual in ground.earlier:
                    shown, _, _ = shows_through(self.detail, detail, valid)
                    self._recalled |= hidden & (usual > 2 * BLIND) & (shown >= CLEARLY * usual)
        return hidden & self._recalled

    def _grow(
        self, t: float, step: float, hidden: Mask, glaring: Mask, changed: Mask, still: Mask
    ) -> None:
        """Let ages grow where something still hides the ground, or another light lasts.

        Headlights that burn the picture out count as a passer-by. While something passes, the
        average of the last seconds is a mixture and frees no ground.
        """
        self._lit[:] = np.where(changed & ~hidden & still, self._lit + step, 0)
        self._restless[:] = np.where((hidden & ~still) | glaring, self._restless + step, 0)
        self._free[:] = np.where(hidden | glaring, 0, self._free + np.where(still, step, 0))
        came = hidden & still & (self.age == 0)
        self.age[:] = np.where(came, LAG_S, np.where(hidden & still, self.age + step, self.age))
        left = (self._free >= FREE_S) & (self.age >= STAYED_S)
        self.left[:, left] = t - FREE_S - self.age[left], np.full(left.sum(), t - FREE_S)
        self.age[(self._free >= FREE_S) | (self._restless >= RESTLESS_S)] = 0

    def _compare(
        self, t: float, step: float, grows: Mask, steady: Mask, detail: Floats, tolerance: Floats
    ) -> None:
        """Where a cover is still again, tell whether it is the one of before.

        If so its age includes the time in between.
        """
        level = self.level - np.median(self.level - self.ground.level)
        aged = self.age > 0
        self._paused[:] = np.where(aged, np.where(grows, self._paused, self._paused + step), 0)
        again = aged & steady & self._waits
        if again.any():
            same = _same(detail, self._kept, tolerance) & (
                np.abs(level - self._kept_level) <= OTHER_LIGHT
            )
            self.age[again & same] += self._paused[again & same]
            self.became[again & ~same] = t
        self._paused[steady] = 0
        self._waits[:] = aged & ~steady
        np.copyto(self._kept, self.detail, where=pixels(steady))
        np.copyto(self._kept_level, level, where=steady)

    def learn(self, observation: CoverObservation, standing: Mask | None) -> None:
        """Learn on from a picture, but not around what hides the ground.

        Ground that did not change is learnt slowly; under another light that has lasted, faster.
        """
        kept = observation.hidden if standing is None else observation.hidden | standing
        # The whole of a thing is kept out, also those of its sides that look like ground: what lies
        # within its outline's hull.
        whole = closed(kept).astype(np.uint8)
        outlines, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for outline in outlines:
            if len(outline) > 3:
                cv2.fillConvexPoly(whole, cv2.convexHull(outline), 1)
        # Beside a small thing the ground still shows to some part, and would be learnt with the
        # thing in it.
        kept = widened(whole > 0, 1) | (widened(whole > 0, 3) & observation.changed)
        pace = np.where(
            observation.changed,
            np.where(self._lit >= LIT_S, observation.step / LIGHT_S, 0),
            observation.step / GROUND_S,
        )
        ground = self.ground
        before = self.ground.level.copy()
        # Edges of light are learnt far more slowly: most will move on, and would be left behind in
        # it.
        weight = np.maximum(observation.weight, EDGES)
        ground.move(
            np.where(kept, 0, pace).astype(np.float32),
            weight,
            observation.detail,
            observation.level,
        )
        if kept.any():
            # What is not learnt grows lighter or darker as the ground around it does.
            ground.level += np.where(kept, _nearby(ground.level - before, ~kept), 0)

    def absorb(self, cells: Mask) -> None:
        """Take what is to be seen in some cells and beside them for ground, for now and before."""
        around = widened(cells, 2)
        self.ground.move(
            around.astype(np.float32), np.ones_like(self.detail), self.detail, self.level
        )
        for detail, _ in self.ground.earlier:
            np.copyto(detail, self.detail, where=pixels(around))
        self.age[cells] = 0


def _valid(log: Floats) -> Floats:
    """1 where a picture is not burnt out, else 0."""
    return np.asarray(log < BURNT, np.float32)


def _other_light(level: Floats, before: Floats) -> Mask:
    """Cells that are lighter or darker than the picture as a whole has become."""
    change = level - before
    return np.asarray(np.abs(change - np.median(change)) > OTHER_LIGHT)


def _same(detail: Floats, before: Floats, tolerance: Floats) -> Mask:
    """Return the cells whose detail is as before, within noise and a pixel of shaking."""
    return share(beyond(detail, before, tolerance)) < 0.25


def _departs(detail: Floats, ground: Ground, tolerance: Floats) -> Mask:
    """Cells whose detail is not this ground's."""
    return share(beyond(detail, ground.detail, tolerance)) > 0.3


def _nearby(values: Floats, known: Mask) -> Floats:
    """Return the mean of the known values around each cell.

    Where nothing near is known it is the whole picture's median.
    """
    count = known.astype(np.float32)
    near, weight = (
        np.asarray(cv2.blur(one, (NEAR, NEAR)), np.float32) for one in (values * count, count)
    )
    if (weight > 0.05).all():
        return np.asarray(near / weight, np.float32)
    overall = float(np.median(values[known])) if known.any() else 0.0
    return np.asarray(np.where(weight > 0.05, near / np.maximum(weight, 0.05), overall), np.float32)
