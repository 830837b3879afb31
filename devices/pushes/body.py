"""Bodies of requests to plain values: JSON, XML and multipart, in UTF-8 or in the GB 18030 of older firmware.

Everything here answers with a value or a `Rejected`; nothing is raised, whatever a body holds.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.parser import BytesParser
from email.policy import compat32
from typing import Any

import msgspec

from devices.messages import ReceivedMessage, Tokenizer
from domain.rejection import Reason, Rejected
from domain.wire import EARLIEST_MS

#: A picture may stand beside the event; a body over this is refused unread.
MAX_BODY = 8 * 1024 * 1024
MAX_PARTS = 20
MAX_DEPTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PushFormat:
    """A kind of push: `parse` reads a body, `render` writes one, `answer` is what the sender wants to hear back.

    `parse(content_type, body, tokens)` gives what was heard, or a Rejected; `render` gives (content type, body).
    """

    name: str
    title: str
    parse: Callable[[str, bytes, Tokenizer], list[ReceivedMessage] | Rejected]
    render: Callable[[ReceivedMessage], tuple[str, bytes]]
    answer: bytes = b""
    answer_type: str = "application/json"


def unreadable(name: str, detail: str) -> Rejected:
    """Make a refusal of a body that cannot be read."""
    return Rejected(reason=Reason.UNREADABLE, detail=f"{name}: {detail}")


def not_understood(name: str, detail: str) -> Rejected:
    """Make a refusal of a body that can be read and says nothing that is known."""
    return Rejected(reason=Reason.NOT_UNDERSTOOD, detail=f"{name}: {detail}")


def read_body(name: str, content_type: str, body: bytes) -> dict[str, Any] | Rejected:
    """Read a body as one object: the JSON or XML of it, or of the first part that holds any."""
    if len(body) > MAX_BODY:
        return Rejected(
            reason=Reason.TOO_LARGE, detail=f"{name}: {len(body)} bytes; the limit is {MAX_BODY}"
        )
    kind = content_type.lower()
    if kind.startswith("multipart/"):
        parts = _parts(content_type, body)
        for part in parts:
            found = _read_one(part)
            if found is not None:
                return found
        return unreadable(name, f"none of the {len(parts)} parts holds a JSON or XML object")
    found = _read_one(body)
    return (
        found
        if found is not None
        else unreadable(name, f"{len(body)} bytes are neither a JSON nor an XML object")
    )


def _parts(content_type: str, body: bytes) -> list[bytes]:
    """Take a multipart body apart; pictures are passed over unread."""
    head = re.sub(r"[\r\n]+", " ", content_type)[:500].encode("latin-1", "replace")
    try:
        message = BytesParser(policy=compat32).parsebytes(
            b"Content-Type: " + head + b"\r\n\r\n" + body
        )
        if not message.is_multipart():
            return []
        found = []
        payloads: list[Any] = list(message.get_payload())
        for part in payloads[:MAX_PARTS]:
            if isinstance(part, str) or part.get_content_maintype() == "image":
                continue
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                found.append(payload)
        return found
    except (ValueError, LookupError, TypeError, AttributeError, IndexError, RecursionError):
        return []


def _read_one(data: bytes) -> dict[str, Any] | None:
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return _xml(text)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        try:
            found = msgspec.json.decode(text.decode("gb18030"))
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
            return None
    return found if isinstance(found, dict) else None


def _xml(data: bytes) -> dict[str, Any] | None:
    """Read XML as nested dictionaries without namespaces; a document type is refused (entities could blow it up)."""
    declared = re.match(rb"<\?xml[^>]{0,200}?encoding=[\"']([A-Za-z0-9_-]{1,40})[\"']", data)
    encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
    if encoding in ("gb2312", "gbk", "gb18030"):
        encoding = "gb18030"
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError, ValueError):
        return None
    text = re.sub(r"^<\?xml[^>]{0,300}\?>", "", text)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None
    found = _element(root, 0)
    return {_local(root.tag): found} if isinstance(found, dict) else None


def _element(node: ElementTree.Element, depth: int) -> Any:
    if not len(node) or depth > MAX_DEPTH:
        return (node.text or "").strip()
    found: dict[str, Any] = {}
    for child in node:
        name, value = _local(child.tag), _element(child, depth + 1)
        if name in found:
            held = found[name]
            found[name] = [*held, value] if isinstance(held, list) else [held, value]
        else:
            found[name] = value
    return found


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def multipart(name: str, part_type: str, payload: bytes, picture: bytes = b"") -> tuple[str, bytes]:
    """Write a multipart body as a terminal does: the event, and a picture beside it."""
    edge = b"MIME_boundary"
    body = (
        b"--"
        + edge
        + b'\r\nContent-Disposition: form-data; name="'
        + name.encode()
        + b'"\r\nContent-Type: '
    )
    body += part_type.encode() + b"\r\n\r\n" + payload + b"\r\n"
    if picture:
        body += (
            b"--"
            + edge
            + b'\r\nContent-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\n'
        )
        body += b"Content-Type: image/jpeg\r\n\r\n" + picture + b"\r\n"
    return "multipart/form-data; boundary=MIME_boundary", body + b"--" + edge + b"--\r\n"


# Values of bodies ----------------------------------------------------------------------------------------------------


def text_of(value: Any, limit: int = 80) -> str:
    """Return a value as text; empty where there is none."""
    if value is None or isinstance(value, dict | list | bool):
        return ""
    return str(value).strip()[:limit].replace("\x00", "")


def integer_of(value: Any) -> int | None:
    """Return a value as a whole number (a digit string too), or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value):
        return int(value)
    return None


def number_of(value: Any) -> float | None:
    """Return a value as a finite number (a numeric string too), or None."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        try:
            found = float(value)
        except OverflowError:
            return None
    elif isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            return None
    else:
        return None
    return found if math.isfinite(found) else None


def nested(value: Any, *names: str) -> Any:
    """Walk into nested objects; None where the way ends."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def time_of(value: Any) -> int | datetime | None:
    """Read a time: ISO 8601 with or without an offset, seconds or milliseconds of the epoch; None where it is none."""
    # Fourteen digits are a local time written without signs (GA/T 1400), not the year 2612 in milliseconds.
    compact = isinstance(value, str) and re.fullmatch(r"[0-9]{14}(\.[0-9]+)?", value.strip())
    moment = None if compact else integer_of(value)
    if moment is not None:
        moment = moment if moment >= EARLIEST_MS else moment * 1000
        return moment if EARLIEST_MS <= moment < 253_402_300_800_000 else None
    if not isinstance(value, str):
        return None
    text = value.strip()[:40]
    if compact:
        text = f"{text[:8]}T{text[8:14]}"
    try:
        at = datetime.fromisoformat(text.replace("/", "-"))
        return (
            at.replace(microsecond=at.microsecond // 1000 * 1000) if at.tzinfo is None else _ms(at)
        )
    except (ValueError, OverflowError):
        return None


def _ms(at: datetime) -> int | None:
    ms = round(at.timestamp() * 1000)
    return ms if ms >= EARLIEST_MS else None


def event_id(*parts: Any) -> str:
    """Make an event's id of the device's own numbers: printable, without spaces, at most 80 characters."""
    text = "-".join(str(part) for part in parts if part not in (None, ""))
    return re.sub(r"[^!-~]+", "_", text)[:80] or "none"


def encode_json(value: Any) -> bytes:
    """Write JSON."""
    return msgspec.json.encode(value)


def flatten(value: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Flatten nested objects to dotted names; lists by index. At most 200 fields."""
    found: dict[str, Any] = {}
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        name = f"{prefix}{str(key)[:60]}"
        if isinstance(inner, dict | list) and depth < MAX_DEPTH:
            found.update(flatten(inner, f"{name}.", depth + 1))
        elif inner is not None:
            found[name] = inner
        if len(found) >= 200:
            break
    return found
