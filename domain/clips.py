"""Links to clips: the estate's gateway gives a clip to whoever brings a signature of the server's,
for one clip and a few minutes.
"""

from __future__ import annotations

import hmac
import re

#: A clip's name as a gateway makes it, with the ending of its still or of its moving picture.
CLIP = re.compile(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{12}")
ENDINGS = {"jpg": "image/jpeg", "webp": "image/webp"}
LIFE_S = 300


def sign(key: bytes, path: str, until: int) -> str:
    """Sign a path until an instant (seconds)."""
    return hmac.digest(key, f"{path}|{until}".encode(), "sha256").hex()


def signed(key: bytes, path: str, until: str, signature: str, now: float) -> bool:
    """Tell whether a signature is the server's and still holds."""
    if not until.isdecimal() or len(until) > 12 or not now <= int(until) <= now + 2 * LIFE_S:
        return False
    return hmac.compare_digest(
        sign(key, path, int(until)).encode(), signature.encode("utf-8", "replace")
    )
