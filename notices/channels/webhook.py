"""Another system: a CloudEvent, signed by Standard Webhooks 1.0.0 (v1, HMAC-SHA256)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from notices import rules
from notices.channels import http
from notices.channels.contract import DeliveryFailed, NoticeMessage


class WebhookChannel:
    """A receiver of signed events."""

    def __init__(self, table: rules.WebhookSettings) -> None:
        self._table = table
        try:
            self._key = base64.b64decode(table.secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            self._key = b""

    def send(self, message: NoticeMessage) -> None:
        """Post an event."""
        if not 24 <= len(self._key) <= 64:
            raise DeliveryFailed(
                "its secret is not whsec_ and the base64 of 24 to 64 bytes", gone=True
            )
        body = message.body.encode()
        stamp = str(int(message.sent_at.timestamp()))
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": message.id,
            "webhook-timestamp": stamp,
            "webhook-signature": sign(self._key, message.id, stamp, body),
        }
        http.post(self._table.url, body, headers, allow_private=self._table.allow_private)


def sign(key: bytes, message_id: str, stamp: str, body: bytes) -> str:
    """Sign a message: HMAC-SHA256 over "id.timestamp.body", in base64 after "v1,"."""
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
