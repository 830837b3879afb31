"""The configuration's tables on faces.

Without them faces are off. With them, the law's conditions must stand in the file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gateway.faces.matching import Thresholds
from gateway.tables import Table

#: Where templates lie, beside the configuration.
FOLDER = "faces"


class FaceDoorTable(Table):
    """A door whose camera sends pictures to /face/<device>/<token>.

    `match` and `unknown` are a site's own thresholds, as `anju faces roc` found them; both or
    neither.
    """

    device: str
    token_file: str
    profile: str = "door-terminal"
    direction: Literal["in", "out", "unknown"] = "in"
    match: float | None = None
    unknown: float | None = None

    def thresholds(self, engine: Thresholds) -> Thresholds:
        """The site's own where it has some, else the engine's."""
        if self.match is None or self.unknown is None:
            return engine
        return replace(engine, match=self.match, unknown=self.unknown)


class FacesTable(Table):
    """Faces at doors (docs/faces.md)."""

    key_file: str
    #: Number of the impact assessment on file (人脸识别技术应用安全管理办法 第九条; PIPL art. 55).
    assessment: str
    #: The other ways in at every one of these doors (办法 第十条).
    other_ways: list[
        Literal["card", "code", "qr", "id_card", "phone", "fingerprint", "remote", "button"]
    ]
    doors: list[FaceDoorTable]
    port: int = 8910
    host: str = "127.0.0.1"
    engine: Literal["dlib", "onnx"] = "dlib"
    detector: str | None = None
    detector_sha256: str = ""
    recogniser: str | None = None
    recogniser_sha256: str = ""
    memory_mb: int = 1536
    #: Without a word from the server for so long nobody is matched.
    list_days: float = 7.0
    #: How long a pseudonym of somebody unregistered lives; 0 keeps none.
    strangers_days: float = 0.0

    def orders(self, folder: Path) -> dict[str, Any]:
        """Return the orders for the worker that encodes."""
        files = {
            name: str(folder / path)
            for name, path in (("detector", self.detector), ("recogniser", self.recogniser))
            if path
        }
        sums = {
            "detector_sha256": self.detector_sha256,
            "recogniser_sha256": self.recogniser_sha256,
        }
        return {"engine": self.engine, "memory_mb": self.memory_mb, **files, **sums}

    def files(self) -> list[str]:
        """Files that must lie beside the configuration."""
        return [
            name
            for name in (
                self.key_file,
                self.detector,
                self.recogniser,
                *(door.token_file for door in self.doors),
            )
            if name
        ]

    def fault(self, folder: Path) -> str | None:
        """What is wrong with it, or None; its files are there."""
        if not self.other_ways:
            return (
                "faces: other_ways: name at least one other way in (card, code, …); a face "
                "may never be the only one (办法 第十条)"
            )
        if len(self.assessment.strip()) < 4:
            return (
                "faces: assessment: the number of the impact assessment on file is needed "
                "before faces are turned on (办法 第九条)"
            )
        key = (folder / self.key_file).read_text("utf-8").strip()
        if len(key) not in (32, 64) or any(c not in "0123456789abcdef" for c in key):
            return (
                "faces: key_file: 64 hex digits (AES-256-GCM) or 32 (SM4-GCM); make one with "
                "`anju faces key`"
            )
        if (
            not 0.1 <= self.list_days <= 30
            or not 0 <= self.strangers_days <= 30
            or not 512 <= self.memory_mb <= 16_384
        ):
            return "faces: list_days 0.1 to 30, strangers_days 0 to 30, memory_mb 512 to 16384"
        for door in self.doors:
            if len((folder / door.token_file).read_text("utf-8").strip()) < 16:
                return (
                    f"faces: door {door.device!r}: the token has at least 16 characters; make "
                    "one with `anju gateway token-key`"
                )
            if (door.match is None) != (door.unknown is None) or (door.match or 0) > (
                door.unknown or 0
            ):
                return (
                    f"faces: door {door.device!r}: match and unknown go together, and match "
                    "is the smaller"
                )
        return None
