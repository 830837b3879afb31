"""SMS and voice by a provider's HTTP interface: a body with places to fill.

Providers differ in the names of their fields only. Each takes a number, a template that it has
approved, and the template's variables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx2

from notices import rules
from notices.channels import http
from notices.channels.contract import DeliveryFailed, NoticeMessage, clip


class TemplateChannel:
    """A provider of short messages or of spoken calls."""

    def __init__(self, table: rules.TemplateSettings) -> None:
        self._table = table

    def send(self, message: NoticeMessage) -> None:
        """Ask the provider to send or to call."""
        table = self._table
        words = {
            "phone": message.recipient,
            "title": clip(message.subject, 60),
            "text": clip(message.body.partition("\n")[0], 300),
            "id": message.id,
        }
        body = fill(table.body, words)
        if table.form:
            raw = urlencode(body).encode()
            content_type = "application/x-www-form-urlencoded"
        else:
            raw = json.dumps(body, ensure_ascii=False).encode()
            content_type = "application/json; charset=utf-8"
        headers = {**table.headers, "Content-Type": content_type}
        answer = http.post(table.url, raw, headers, allow_private=table.allow_private)
        if table.ok and not _has_fields(answer, table.ok):
            raise DeliveryFailed(f"the provider refused: {answer.text[:120]!r}")


def _has_fields(answer: httpx2.Response, expected: Mapping[str, Any]) -> bool:
    """Tell whether an answer is a JSON object with these values."""
    try:
        fields = answer.json()
    except ValueError:
        return False
    if not isinstance(fields, dict):
        return False
    return all(fields.get(name) == value for name, value in expected.items())


def fill(value: Any, words: dict[str, str]) -> Any:
    """Put words into the places of a body.

    Nothing else in braces is touched, and places within a word are not filled.
    """
    if isinstance(value, dict):
        return {key: fill(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, words) for inner in value]
    if not isinstance(value, str):
        return value
    parts: list[str] = []
    rest = value
    while rest:
        at, name = min(
            ((rest.find(f"{{{n}}}"), n) for n in words if f"{{{n}}}" in rest), default=(-1, "")
        )
        if at < 0:
            break
        parts += [rest[:at], words[name]]
        rest = rest[at + len(name) + 2 :]
    return "".join(parts) + rest
