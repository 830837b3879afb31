"""One camera in a process of its own: `python -m gateway.vision.worker`, its orders as JSON on
standard input, JSON lines out.

A stream from outside is decoded by a large library in C; whatever it does with a bent stream, it
does here, within a limit of memory and under a watchdog, and nothing else is disturbed. The
gateway's process never touches a picture.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from domain.calendar import DEFAULT_ZONE

#: How often a line says that pictures come.
ALIVE_S = 2.0
#: Where nothing fast is looked for, pictures are taken this far apart.
SLOW_S = 0.25
#: How often what the detectors know is put on disk.
SAVE_S = 300.0


class Orders(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to watch. `url` is a file or an RTSP address; `memory_mb` is the limit of this process's
    address space.
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


def say(line: dict[str, Any]) -> None:
    """Write one line to the gateway."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


@dataclass
class CameraWork:
    """One camera's work: pictures in, lines out, clips to disk."""

    orders: Orders
    frames: int = 0
    _wanted: list[tuple[float, Any, str, Any]] = field(default_factory=list)

    def run(self) -> None:
        """Watch until the stream ends.

        Raises: NotPlayable.
        """
        import numpy as np

        from gateway.vision.clips import AFTER_S, BEFORE_S, ClipFolder, Ring, annotated, small
        from gateway.vision.rules import ClockRule, FallingRule, parse_rules
        from gateway.vision.stream import is_live, one_thread, read
        from gateway.vision.watcher import Watcher

        one_thread()
        orders = self.orders
        rules = parse_rules(orders.rules, "rules")
        watcher = Watcher(rules)
        live = is_live(orders.url)
        zone = ZoneInfo(orders.zone)
        fast = any(isinstance(rule, FallingRule) for rule in rules.rules)
        ring = Ring(0.08 if fast else 0.5)
        folder = ClipFolder(Path(orders.folder), orders.max_mb * 1024 * 1024, orders.keep_days)
        folder.make_room(datetime.now(UTC))
        kept = Path(orders.folder) / "ground.npz"
        if live and kept.is_file():
            try:
                with np.load(kept) as saved:
                    watcher.restore(dict(saved))
            except (OSError, ValueError):
                kept.unlink(missing_ok=True)
        lanes = [
            list(rule.polygon)
            for rule in rules.rules
            if not isinstance(rule, ClockRule) and rule.polygon
        ]
        begun = time.time()
        told = 0.0
        put = time.monotonic()
        t = 0.0

        def finish(before: float) -> None:
            for wanted in [one for one in self._wanted if one[0] <= before]:
                self._wanted.remove(wanted)
                due, sighting, name, still = wanted
                low = min(sighting.at_s, due - AFTER_S) - BEFORE_S / 2
                folder.save(name, annotated(still, sighting, lanes), ring.between(low, due))
                say({"clip": name})

        for frame in read(orders.url, 0.0 if fast else SLOW_S):
            wall = time.time() if live else (orders.starts_at or int(begun * 1000)) / 1000 + frame.t
            t = wall if live else frame.t
            self.frames += 1
            for sighting in watcher.see(
                t, frame.picture, datetime.fromtimestamp(wall, zone).replace(tzinfo=None)
            ):
                self._tell(sighting, t, frame.picture, folder, wall)
            ring.add(t, frame.picture)
            finish(t)
            now = time.monotonic()
            if now - told >= ALIVE_S:
                told = now
                say(
                    {
                        "alive": self.frames,
                        "t": round(t, 2),
                        "size": list(frame.picture.shape[1::-1]),
                    }
                )
            if live and now - put >= SAVE_S:
                put = now
                np.savez(kept, allow_pickle=False, **watcher.saved())
        for sighting in watcher.finish():
            self._tell(sighting, t, small(frame.picture), folder, begun)
        finish(float("inf"))
        say({"end": self.frames, "t": round(t, 2)})

    def _tell(self, sighting: Any, t: float, picture: Any, folder: Any, wall: float) -> None:
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
            name = folder.name(datetime.fromtimestamp(wall, UTC))
            line["clip"] = name
            from gateway.vision.clips import AFTER_S

            self._wanted.append((t + AFTER_S, sighting, name, picture.copy()))
        say({"sighting": line})


def limit(orders: Orders) -> None:
    """Bind this process: memory, processor time, no core file; and it ends with the gateway."""
    size = orders.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if orders.most_cpu_s:
        resource.setrlimit(resource.RLIMIT_CPU, (orders.most_cpu_s, orders.most_cpu_s + 5))
    os.nice(5)


def main() -> None:
    """Take orders and work; exit code 0 at the end of a recording, 3 where a stream ended or could
    not be read.
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
        say({"fault": str(error)})
        sys.exit(3)
    except MemoryError:
        say({"fault": f"needs more memory than its limit of {orders.memory_mb} MB"})
        sys.exit(3)
    except Exception as error:
        # OpenCV tells a failed allocation, like everything else, as an error of its own.
        say({"fault": f"{type(error).__name__}: {str(error)[:300]}"})
        sys.exit(3)
    sys.exit(3 if is_live(orders.url) else 0)


if __name__ == "__main__":
    main()
