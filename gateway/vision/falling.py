"""Things that fall past a facade: small fast motion that keeps to a fall's parabola.

The law is the physical one, in metres (`ballistics`): heights follow a fall with drag, x(t) is
nearly straight, and the apex lies within the building. Rain and leaves fall at their terminal speed
from the first; birds and insects steer; laundry stays. Several hypotheses are tracked at once, each
by its own prediction. Pieces of one path, above and below a bright window, are joined.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.vision.ballistics import GRAVITY, SLOWEST, Fall, Scale, best_fall, rms_of, slope_of
from gateway.vision.rules import FallingRule
from gateway.vision.sighting import Sighting
from gateway.vision.spots import MOST_SPOTS, SpotFinder

Grey = NDArray[np.uint8]
#: Hypotheses kept from one picture to the next.
MOST_TRACKS = 250
#: Points before a track is judged, and pictures in a row in which its thing may be missing.
LEAST_POINTS = 8
MOST_MISSES = 3
MOST_POINTS = 150
#: How far it may be from its parabola: root mean square, in metres, in pixels, as a share of the
#: drop (marks are measured by people, drag is not quite quadratic), and of its own width (of a
#: large slow thing the leading edge is seen); the largest counts.
FIT_M = 0.055
FIT_PX = 0.7
FIT_SHARE = 0.005
FIT_WIDTH = 0.2
#: It is seen in at least this share of the pictures of its way: specks of rain that happen to lie
#: on a parabola are not.
LEAST_SEEN = 0.6
#: Nobody throws sideways faster than this, m/s.
SIDEWAYS = 12.0
#: A fall of less than so many metres is one only where the thing is seen from within so many
#: seconds of its apex to within so many of the picture's (or the polygon's) bottom, and goes
#: sideways more slowly than a bird flies, m/s: a bird that drops off its ledge or stoops through
#: the picture keeps to the law of a stone for half a second, but a stone begins at rest and goes
#: on. And it is no wider than this, m: an insect at the lens is a large soft spot, whose way is now
#: and then a parabola for half a second.
LONG_M = 6.0
BEGINS_S = 0.35
LANDS_S = 0.3
SLOWLY = 4.0
SMALL_M = 0.6
#: And what is first seen in mid-air must be seen for so long, seconds, and keep closely to its
#: parabola: for a moment any fast speck does, and an insect at the lens, which is wide, for longer.
MIDAIR_S = 0.8
#: Pixels that the lens, the blur and the grid add to a small spot's width.
SOFT_PX = 3.0
#: Two tracks that end within this of each other are one thing.
SAME_S = 1.5
#: What passes before something as light as itself is seen in part or not at all. Of a track's
#: points this share may lie off the way, and pieces are one fall where the later begins so soon
#: after the earlier (or before its end, seconds), and so near to where that would be by then
#: (metres or pixels, and as a share of what it falls meanwhile).
OFF_SHARE = 0.2
GAP_S = 0.8
OVERLAP_S = 0.2
GAP_M = 0.5
GAP_PX = 4.0
GAP_SHARE = 0.4
#: Points of a piece, and pieces kept.
PIECE_POINTS = 4
MOST_PIECES = 40


@dataclass(slots=True)
class _Track:
    """One hypothesis: when (s) and where (pixels) its thing was seen.

    Velocity is in pixels a second, acceleration in pixels a second squared.
    """

    t: list[float]
    x: list[float]
    y: list[float]
    width: list[float]
    velocity: tuple[float, float]
    acceleration: float
    misses: int = 0
    #: Pictures in which its thing was missing and came again.
    missed: int = 0


@dataclass(frozen=True, slots=True)
class _Way:
    """A track that keeps to the law of a fall.

    `straight_m` is the misfit of an even motion. `sideways` is in m/s and `width_m` in metres.
    """

    track: _Track
    first_s: float
    fall: Fall
    points: int
    straight_m: float
    sideways: float
    width_m: float
    #: No point lies off, and it keeps to the law whatever its own width.
    closely: bool


@dataclass(slots=True)
class Falling:
    """The detector of one rule. `see` takes every picture of a stream, in order."""

    rule: FallingRule
    _finder: SpotFinder = field(default_factory=SpotFinder)
    _shape: tuple[int, int] = (0, 0)
    _spots: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    _before: float = float("-inf")
    _tracks: list[_Track] = field(default_factory=list)
    _reported: deque[_Way] = field(default_factory=lambda: deque(maxlen=20))
    _pieces: deque[_Way] = field(default_factory=lambda: deque(maxlen=MOST_PIECES))
    _scale: Scale | None = None
    _lowest: float = 0.0

    def see(self, t: float, grey: Grey) -> list[Sighting]:
        """Take one picture (rows, columns) at `t` seconds and return what has fallen."""
        if self._scale is None or self._shape != grey.shape:
            self._start(grey)
        if t - self._before > 1.0 or t <= self._before:
            # The stream stood still or began anew: nothing of before belongs to what comes.
            self._finder.forget_pictures()
            self._tracks.clear()
            self._pieces.clear()
        spots = self._finder.find(grey)
        ended = self._follow(t, spots)
        self._spots = spots
        self._before = t
        return [seen for seen in map(self._judge, ended) if seen is not None]

    def finish(self) -> list[Sighting]:
        """Judge what is still under way when a stream ends."""
        ended = self._tracks
        self._tracks = []
        return [seen for seen in map(self._judge, ended) if seen is not None]

    def _start(self, grey: Grey) -> None:
        rows, columns = grey.shape
        self._scale = Scale.through(self.rule.heights, rows)
        self._shape = (rows, columns)
        self._finder = SpotFinder()
        self._tracks.clear()
        self._pieces.clear()
        self._lowest = float(rows)
        if self.rule.polygon:
            inside = np.zeros_like(grey)
            corners = (np.array(self.rule.polygon) * [columns, rows]).astype(np.int32)
            cv2.fillPoly(inside, [corners], 1)
            self._finder = SpotFinder(inside)
            self._lowest = float(corners[:, 1].max())

    # Tracks ---------------------------------------------------------------------------------------

    def _follow(self, t: float, spots: NDArray[np.float64]) -> list[_Track]:
        """Carry every hypothesis on to this picture, begin new ones; returns those that ended."""
        going: list[_Track] = []
        ended: list[_Track] = []
        taken = np.zeros(len(spots), bool)
        for track, nearest in zip(self._tracks, self._nearest(t, spots), strict=True):
            if nearest is not None and len(track.t) < MOST_POINTS:
                taken[nearest] = True
                self._extend(track, t, spots[nearest])
                going.append(track)
            elif track.misses < MOST_MISSES and len(track.t) < MOST_POINTS:
                track.misses += 1
                going.append(track)
            else:
                ended.append(track)
        going += self._begin(t, spots, taken)
        going.sort(key=lambda one: -len(one.t))
        self._tracks = _distinct(going)[:MOST_TRACKS]
        # A few points say something only as the rest of a piece.
        until = max((piece.track.t[-1] for piece in self._pieces), default=float("-inf")) + GAP_S
        return [
            track
            for track in ended
            if len(track.t) >= (PIECE_POINTS if track.t[0] <= until else LEAST_POINTS)
        ]

    def _nearest(self, t: float, spots: NDArray[np.float64]) -> list[int | None]:
        """Return, for every track, the spot nearest to where its thing should be.

        It is None where no spot is near enough.
        """
        if not len(spots) or not self._tracks:
            return [None] * len(self._tracks)
        last = np.array(
            [
                (one.t[-1], one.x[-1], one.y[-1], *one.velocity, one.acceleration)
                for one in self._tracks
            ]
        )
        dt = t - last[:, 0]
        across = last[:, 3] * dt
        down = last[:, 4] * dt + last[:, 5] * dt * dt / 2
        away = np.hypot(
            spots[None, :, 0] - (last[:, 1] + across)[:, None],
            spots[None, :, 1] - (last[:, 2] + down)[:, None],
        )
        nearest = np.argmin(away, axis=1)
        near = away[np.arange(len(last)), nearest] <= 3.0 + 0.25 * np.hypot(across, down)
        return [int(spot) if fits else None for spot, fits in zip(nearest, near, strict=True)]

    def _extend(self, track: _Track, t: float, spot: NDArray[np.float64]) -> None:
        """Add a point to a track and fit its velocity to the last twelve.

        From five points on, its acceleration is fitted too.
        """
        track.t.append(t)
        track.x.append(float(spot[0]))
        track.y.append(float(spot[1]))
        track.width.append(float(spot[2]))
        track.missed += track.misses
        track.misses = 0
        past = np.array(track.t[-12:]) - t
        y = np.array(track.y[-12:])
        vx = slope_of(past, np.array(track.x[-12:]))
        if len(past) < 5:
            track.velocity = (vx, slope_of(past, y - track.acceleration / 2 * past * past))
            return
        powers = np.vander(past, 3)
        a, vy, _ = np.linalg.solve(powers.T @ powers, powers.T @ y)
        limit = self._limit(track)
        track.acceleration = min(max(float(2 * a), -limit), limit)
        track.velocity = (vx, float(vy))

    def _limit(self, track: _Track) -> float:
        """Return the largest acceleration of a prediction: twice gravity (pixels / s²)."""
        assert self._scale is not None
        return float(2 * GRAVITY * self._scale.pixels_per_metre(np.array(track.y[-1])))

    def _begin(
        self, t: float, spots: NDArray[np.float64], taken: NDArray[np.bool_]
    ) -> list[_Track]:
        """Begin tracks: pair free spots with those of the picture before that lie above."""
        assert self._scale is not None
        free = np.flatnonzero(~taken)
        if not len(free) or not len(self._spots) or t - self._before > 0.5:
            return []
        scale = self._scale.pixels_per_metre(spots[free, 1])
        dt = t - self._before
        dx = spots[free, 0][:, None] - self._spots[None, :, 0]
        dy = spots[free, 1][:, None] - self._spots[None, :, 1]
        fastest = np.sqrt(2 * GRAVITY * self.rule.roof) * scale[:, None] * dt
        pairs = np.argwhere((dy > 0.4) & (dy <= fastest + 2) & (np.abs(dx) < 1.2 * dy + 2))
        begun = []
        for i, j in pairs[: 2 * MOST_SPOTS]:
            spot = spots[free[i]]
            before = self._spots[j]
            begun.append(
                _Track(
                    [self._before, t],
                    [before[0], spot[0]],
                    [before[1], spot[1]],
                    [before[2], spot[2]],
                    (float(dx[i, j]) / dt, float(dy[i, j]) / dt),
                    float(GRAVITY * scale[i]),
                )
            )
        return begun

    # Judgement ------------------------------------------------------------------------------------

    def _judge(self, track: _Track) -> Sighting | None:
        """Return the sighting of a track that ended, if it is a fall.

        It may be one by itself or with earlier pieces. Otherwise it is kept as a piece for later
        ones.
        """
        if any(self._goes_on(way, track, way.fall.seconds) for way in self._reported):
            return None
        earlier = [
            _joined(piece.track, track)
            for piece in self._pieces
            if self._goes_on(piece, track, OVERLAP_S)
        ]
        for candidate in (track, *earlier):
            way = self._way(candidate)
            if way is None:
                continue
            if self._proves(way):
                return self._report(way)
            self._pieces.append(way)
        return None

    def _report(self, way: _Way) -> Sighting | None:
        begins = way.track.t[0]
        if any(abs(begins - other.track.t[0]) < SAME_S for other in self._reported):
            return None
        self._reported.append(way)
        rows, columns = self._shape
        path = [
            (round(x / columns, 4), round(y / rows, 4))
            for x, y in zip(way.track.x, way.track.y, strict=True)
        ]
        found = way.fall
        return Sighting(
            hazard="falling_object",
            state="on",
            at_s=begins,
            path=path,
            data={
                "from_height_m": round(found.apex_m, 1),
                "drop_m": round(found.drop_m, 1),
                "seconds": round(found.seconds, 2),
            },
        )

    def _goes_on(self, way: _Way, track: _Track, overlap: float) -> bool:
        """Tell whether a track continues a way: it begins soon after its end, and near there."""
        assert self._scale is not None
        before = way.track
        begins = track.t[0]
        gap = begins - before.t[-1]
        if not -overlap < gap <= GAP_S:
            return False
        row = np.array(track.y[0])
        pixels = float(self._scale.pixels_per_metre(row))
        then, now = way.fall.height(np.array([min(before.t[-1], begins), begins]) - way.first_s)
        x = float(np.interp(begins, before.t, before.x)) + before.velocity[0] * max(gap, 0.0)
        room = max(GAP_M, GAP_PX / pixels) + GAP_SHARE * float(then - now)
        return (
            abs(float(self._scale.metres(row) - now)) <= room
            and abs(track.x[0] - x) / pixels <= room
        )

    def _way(self, track: _Track) -> _Way | None:
        """Fit the law of a fall to a track; None where the track does not keep to it.

        A fit does not prove a fall by itself (`_proves`).
        """
        assert self._scale is not None
        first = int(np.argmin(track.y))  # What is thrown up begins to fall at its apex.
        t, x, y = (np.array(values[first:]) for values in (track.t, track.x, track.y))
        if len(t) < LEAST_POINTS:
            return None
        scale = self._scale.pixels_per_metre(y)
        rows, columns = self._shape
        h = self._scale.metres(y)
        across = self._scale.across(x, y, rows, columns)
        t = t - t[0]
        drop = float(h[0] - h[-1])
        width = float(np.median((np.array(track.width[first:]) - SOFT_PX) / scale))
        narrow = max(FIT_M, float(FIT_PX / scale.min()), FIT_SHARE * drop)
        allowed = max(narrow, FIT_WIDTH * width)
        sideways = abs(float(across[-1] - across[0])) / float(t[-1])
        if width > self.rule.most_size_m or sideways > SIDEWAYS:
            return None
        for _ in range(2):
            bend = np.polyfit(t, across, 2)
            aside = np.polyval(bend, t) - across
            found = best_fall(t, h, self.rule.roof + 2.0)
            if found is None or abs(2 * bend[0]) > 0.35 * GRAVITY:
                return None
            # What would rather fall still more slowly is a leaf, unless it keeps to the law so well
            # that it is only seen too briefly.
            most = allowed / 2 if found.terminal < 1.01 * SLOWEST else allowed
            off = found.height(t) - h
            if found.rms_m <= most and rms_of(aside) <= 2 * most:
                straight = rms_of(np.polyval(np.polyfit(t, h, 1), t) - h)
                closely = len(t) + first == len(track.t) and found.rms_m <= narrow
                return _Way(
                    track, track.t[first], found, len(t) + first, straight, sideways, width, closely
                )
            # What lies furthest off may be the thing seen in part: once more without that.
            keep = np.sort(np.argsort(np.hypot(off, aside / 2))[: len(t) - int(OFF_SHARE * len(t))])
            if len(keep) < LEAST_POINTS:
                return None
            t = t[keep]
            h = h[keep]
            across = across[keep]
        return None

    def _proves(self, way: _Way) -> bool:
        """Tell whether nothing but a thing that fell is seen so."""
        track = way.track
        found = way.fall
        # What has fallen only a little is seen to go on to the ground.
        short = found.drop_m < LONG_M
        lands = track.y[-1] + track.velocity[1] * LANDS_S >= self._lowest
        from_rest = found.begun_s <= BEGINS_S
        return (
            found.drop_m >= self.rule.least_drop_m
            and (lands or not short)
            and way.points >= LEAST_SEEN * (len(track.t) + track.missed)
            and (not short or (way.sideways <= SLOWLY and way.width_m <= SMALL_M))
            and (from_rest or (way.closely and not short and found.seconds >= MIDAIR_S))
            # The fit must be much better than that of an even motion.
            and way.straight_m >= 2.5 * found.rms_m
        )


def _joined(piece: _Track, track: _Track) -> _Track:
    """One track of two; the pictures between them are ones in which the thing was missing."""
    kept = int(np.searchsorted(piece.t, track.t[0]))
    missing = max(
        round((track.t[0] - piece.t[kept - 1]) / float(np.median(np.diff(track.t)))) - 1, 0
    )
    return _Track(
        piece.t[:kept] + track.t,
        piece.x[:kept] + track.x,
        piece.y[:kept] + track.y,
        piece.width[:kept] + track.width,
        track.velocity,
        track.acceleration,
        track.misses,
        piece.missed + missing + track.missed,
    )


def _distinct(tracks: list[_Track]) -> list[_Track]:
    """Of hypotheses that share their last points keep the longest (they come longest first)."""
    seen: set[tuple[float, ...]] = set()
    kept = []
    for track in tracks:
        mark = (track.t[-1], track.x[-1], track.y[-1], track.t[-2], track.x[-2], track.y[-2])
        if mark not in seen:
            seen.add(mark)
            kept.append(track)
    return kept
