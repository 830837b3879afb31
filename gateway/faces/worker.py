"""Pictures in, encodings out, in a process of its own: `python -m gateway.faces.worker`.

No picture touches a disk.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def main() -> None:
    """Read the orders, name the engine, then answer each picture until the input ends."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.disable(logging.CRITICAL)
    orders = json.loads(sys.stdin.readline())
    size = int(orders.get("memory_mb", 1536)) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from gateway.faces.engine import EngineMissing, make

    try:
        files = [
            Path(orders[name]) if orders.get(name) else None for name in ("detector", "recogniser")
        ]
        engine = make(
            orders["engine"],
            files[0],
            files[1],
            (orders.get("detector_sha256", ""), orders.get("recogniser_sha256", "")),
        )
    except EngineMissing as error:
        _write_line({"fault": str(error)})
        sys.exit(3)
    _write_line({"engine": engine.name, "thresholds": asdict(engine.thresholds)})
    for line in sys.stdin:
        _write_line(_answer(engine, line))


def _answer(engine: Any, line: str) -> dict[str, Any]:
    from gateway.faces.pictures import BadPicture, decode

    try:
        request = json.loads(line)
        picture = decode(base64.b64decode(request["picture"]))
        faces = [
            {
                "box": [int(side) for side in face.box],
                "encoding": [round(float(v), 6) for v in face.encoding],
                "measured": asdict(face.measured),
            }
            for face in engine.faces(picture)
        ]
    except BadPicture as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "needs more memory than a picture may take"}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {str(error)[:200]}"}
    return {"faces": faces}


def _write_line(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
