"""What the configuration says of cameras."""

from __future__ import annotations

from gateway.tables import Table


class CameraTable(Table):
    """A camera whose pictures are judged here.

    `{password}` in `url` stands for the content of `password_file`.
    """

    device: str
    url: str
    profile: str = "camera"
    password_file: str | None = None
    #: Its rules (gateway/vision/rules.py); without any it is only watched for being covered, moved,
    #: blurred, dark or frozen.
    rules: str | None = None


class VisionTable(Table):
    """Where clips lie, how large and how old they may get, and the memory for one camera."""

    folder: str = "clips"
    max_mb: int = 512
    keep_days: float = 7.0
    memory_mb: int = 2048
    #: Where reviewers fetch clips over the estate's network, by links that the server signs; off
    #: without a port.
    port: int | None = None
    host: str = "127.0.0.1"
    link_key_file: str | None = None

    def fault(self) -> str | None:
        """What is wrong with it, or None."""
        if (
            not 1 <= self.max_mb <= 1_000_000
            or not 0 < self.keep_days <= 365
            or not 512 <= self.memory_mb <= 65_536
        ):
            return (
                "vision: max_mb 1 to 1000000, keep_days above 0 and at most 365, memory_mb "
                "512 to 65536"
            )
        if self.port is not None and (not 1 <= self.port <= 65_535 or self.link_key_file is None):
            return (
                "vision: port lies between 1 and 65535 and needs link_key_file: the key that "
                "ANJU_CLIPS_FILE has for this estate"
            )
        return None
