"""Web push (RFC 8030, 8291, 8292) by the library pywebpush (an extra: `pip install anju[notify]`).

The recipient is a browser's subscription as JSON. Messages are encrypted for that browser, so the
push service cannot read them.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from notices import rules
from notices.channels import http
from notices.channels.contract import AWAY, DeliveryFailed, NoticeMessage

TIMEOUT_S = 10.0
#: Seconds for which the push service keeps what a browser that is off has not fetched.
TTL_S = 3_600


class PushChannel:
    """The push services of people's browsers."""

    def __init__(self, table: rules.PushSettings) -> None:
        self._table = table

    def send(self, message: NoticeMessage) -> None:
        """Send a notice to one browser."""
        try:
            library: Any = import_module("pywebpush")
        except ImportError:
            raise DeliveryFailed(
                "the library pywebpush is not installed: pip install 'anju[notify]'", gone=True
            ) from None
        subscription = json.loads(message.recipient)
        try:
            # The address came from a browser, so it is checked; a bad one closes no channel.
            http.resolve(subscription["endpoint"], allow_private=self._table.allow_private)
        except DeliveryFailed as error:
            raise DeliveryFailed(str(error), hold=error.hold) from None
        data = json.dumps(
            {"title": message.subject, "body": message.body, "tag": message.id}, ensure_ascii=False
        )
        try:
            library.webpush(
                subscription,
                data,
                vapid_private_key=self._table.private_key,
                vapid_claims={"sub": self._table.contact},
                timeout=TIMEOUT_S,
                ttl=TTL_S,
                headers={"Urgency": "high" if message.urgent else "normal"},
            )
        except library.WebPushException as error:
            status = error.response.status_code if error.response is not None else 0
            away = status == 429 or status >= 500
            why = f"the push service answered {status}"
            raise DeliveryFailed(
                why, hold=AWAY if away else None, recipient_gone=status in (404, 410)
            ) from None
        except OSError as error:
            raise DeliveryFailed(f"the push service: {type(error).__name__}", hold=AWAY) from None


def public_key(private_key: str) -> str:
    """Return the public half of a site's VAPID key: base64url of the uncompressed point.

    Raises: ValueError.
    """
    import base64

    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    raw = base64.urlsafe_b64decode(private_key + "=" * (-len(private_key) % 4))
    if len(raw) != 32:
        raise ValueError(
            "the VAPID key is the base64url of 32 bytes; make one by `anju notices vapid`"
        )
    key = ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()
