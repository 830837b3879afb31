"""One camera in a process of its own: `python -m gateway.vision.worker`.

It reads its orders as JSON from standard input and writes JSON lines. A large library in C decodes
the stream from outside. A bad stream can break this process only, within its limits of memory and
time.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from domain.calendar import DEFAULT_ZONE

if TYPE_CHECKING:
    from gateway.vision.sighting import Sighting
    from gateway.vision.watcher import Picture

#: How often a line says that pictures come.
ALIVE_S = 2.0
#: Where nothing fast is looked for, pictures are taken this far apart.
SLOW_S = 0.25
#: How often what the detectors know is put on disk.
SAVE_S = 300.0


class Orders(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to watch, and the limits.

    `url` is a file or an RTSP address. `memory_mb` limits this process's address space.
    """

    url: str
    rules: dict[str, Any]
    folder: str
    zone: str = DEFAULT_ZONE
    memory_mb: int = 2048
    max_mb: int = 512
    keep_days: float = 7.0
    #: A recording is watched as fast as it can be read, from this instant on (milliseconds).
    starts_at: int | None = None
    #: Seconds of processor time after which a recording is given up; 0 for a camera, which goes on
    #: for ever.
    most_cpu_s: int = 0


def write_line(line: dict[str, Any]) -> None:
    """Write one line to the gateway."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class _PendingClip:
    """A clip that is written once its last picture has come, at `due_s`."""

    due_s: float
    sighting: Sighting
    name: str
    still: Picture


class CameraWork:
    """One camera's work: it reads pictures, writes lines, and saves clips.

    Raises: BadRules, when the orders' rules are wrong.
    """

    def __init__(self, orders: Orders) -> None:
        from gateway.vision.clips import ClipFolder, Ring
        from gateway.vision.rules import ClockRule, FallingRule, parse_rules
        from gateway.vision.stream import is_live
        from gateway.vision.watcher import Watcher

        rules = parse_rules(orders.rules, "rules")
        self.orders = orders
        self.frames = 0
        self._live = is_live(orders.url)
        self._zone = ZoneInfo(orders.zone)
        self._watcher = Watcher(rules)
        self._is_fast = any(isinstance(rule, FallingRule) for rule in rules.rules)
        self._ring = Ring(0.08 if self._is_fast else 0.5)
        self._folder = ClipFolder(
            Path(orders.folder), orders.max_mb * 1024 * 1024, orders.keep_days
        )
        self._lanes = [
            list(rule.polygon)
            for rule in rules.rules
            if not isinstance(rule, ClockRule) and rule.polygon
        ]
        self._pending_clips: list[_PendingClip] = []
        self._ground_file = Path(orders.folder) / "ground.npz"
        self._begun = time.time()

    def run(self) -> None:
        """Watch until the stream ends.

        Raises: NotPlayable.
        """
        from gateway.vision.clips import small
        from gateway.vision.stream import one_thread, read

        one_thread()
        self._folder.make_room(datetime.now(UTC))
        self._restore_ground()
        reported_at = 0.0
        saved_at = time.monotonic()
        t = 0.0
        for frame in read(self.orders.url, 0.0 if self._is_fast else SLOW_S):
            wall = self._wall_time(frame.t)
            t = wall if self._live else frame.t
            self._see(t, wall, frame.picture)
            now = time.monotonic()
            if now - reported_at >= ALIVE_S:
                reported_at = now
                size = list(frame.picture.shape[1::-1])
                write_line({"alive": self.frames, "t": round(t, 2), "size": size})
            if self._live and now - saved_at >= SAVE_S:
                saved_at = now
                self._save_ground()
        for sighting in self._watcher.finish():
            self._report(sighting, t, small(frame.picture), self._begun)
        self._save_clips(float("inf"))
        write_line({"end": self.frames, "t": round(t, 2)})

    def _wall_time(self, stream_s: float) -> float:
        """Return the instant of a picture, in seconds since 1970 (UTC)."""
        if self._live:
            return time.time()
        return (self.orders.starts_at or int(self._begun * 1000)) / 1000 + stream_s

    def _see(self, t: float, wall: float, picture: Picture) -> None:
        """Pass one picture to the rules, and save the clips that are complete."""
        self.frames += 1
        local = datetime.fromtimestamp(wall, self._zone).replace(tzinfo=None)
        for sighting in self._watcher.see(t, picture, local):
            self._report(sighting, t, picture, wall)
        self._ring.add(t, picture)
        self._save_clips(t)

    def _report(self, sighting: Sighting, t: float, picture: Picture, wall: float) -> None:
        """Write a sighting as a line; one that begins also asks for a clip."""
        from gateway.vision.clips import AFTER_S

        line = {
            "hazard": sighting.hazard,
            "condition": sighting.condition,
            "state": sighting.state,
            "detail": sighting.detail,
            "t": round(sighting.at_s, 2),
            "ago_s": round(t - sighting.at_s, 2),
            "data": sighting.data,
        }
        if sighting.state == "on":
            name = self._folder.name(datetime.fromtimestamp(wall, UTC))
            line["clip"] = name
            self._pending_clips.append(
                _PendingClip(due_s=t + AFTER_S, sighting=sighting, name=name, still=picture.copy())
            )
        write_line({"sighting": line})

    def _save_clips(self, until: float) -> None:
        """Save the clips that are due at `until`."""
        from gateway.vision.clips import AFTER_S, BEFORE_S, annotated

        for clip in [clip for clip in self._pending_clips if clip.due_s <= until]:
            self._pending_clips.remove(clip)
            begin = min(clip.sighting.at_s, clip.due_s - AFTER_S) - BEFORE_S / 2
            still = annotated(clip.still, clip.sighting, self._lanes)
            self._folder.save(clip.name, still, self._ring.between(begin, clip.due_s))
            write_line({"clip": clip.name})

    def _restore_ground(self) -> None:
        """Give the detectors the ground of before a restart; an unreadable file is deleted."""
        import numpy as np

        if not self._live or not self._ground_file.is_file():
            return
        try:
            with np.load(self._ground_file) as saved:
                self._watcher.restore(dict(saved))
        except (OSError, ValueError):
            self._ground_file.unlink(missing_ok=True)

    def _save_ground(self) -> None:
        import numpy as np

        np.savez(self._ground_file, allow_pickle=False, **self._watcher.saved())


def limit(orders: Orders) -> None:
    """Bind this process: memory, processor time, no core file; and it ends with the gateway."""
    size = orders.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if orders.most_cpu_s:
        resource.setrlimit(resource.RLIMIT_CPU, (orders.most_cpu_s, orders.most_cpu_s + 5))
    os.nice(5)


def main() -> None:
    """Take orders and work.

    The exit code is 0 at the end of a recording, and 3 where a stream ended or could not be read.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["OPENCV_LOG_LEVEL"] = "ERROR"
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = msgspec.json.decode(sys.stdin.readline().encode(), type=Orders)
    limit(orders)
    from gateway.vision.rules import BadRules
    from gateway.vision.stream import NotPlayable, is_live

    try:
        CameraWork(orders).run()
    except (NotPlayable, BadRules) as error:
        write_line({"fault": str(error)})
        sys.exit(3)
    except MemoryError:
        write_line({"fault": f"needs more memory than its limit of {orders.memory_mb} MB"})
        sys.exit(3)
    except Exception as error:
        # OpenCV tells a failed allocation, like everything else, as an error of its own.
        write_line({"fault": f"{type(error).__name__}: {str(error)[:300]}"})
        sys.exit(3)
    sys.exit(3 if is_live(orders.url) else 0)


if __name__ == "__main__":
    main()
