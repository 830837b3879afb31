"""Bodies of requests to plain values: JSON, XML and multipart, in UTF-8 or in the GB 18030 of older
firmware.

Everything here answers with a value or a `Rejected`; nothing is raised, whatever a body holds.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from email.parser import BytesParser
from email.policy import compat32
from typing import Any, NamedTuple

import msgspec

from devices.messages import ReceivedMessage, Tokenizer
from domain.rejection import Reason, Rejected
from domain.wire import EARLIEST_MS

#: A picture may stand beside the event; a body over this is refused unread.
MAX_BODY = 8 * 1024 * 1024
MAX_PARTS = 20
MAX_DEPTH = 12
MAX_FIELDS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PushFormat:
    """A kind of push.

    - `parse(content_type, body, tokenize)` returns the messages of a body, or Rejected.
    - `render(message)` writes a message as a sender does: a `PushBody`; ValueError for what a
      sender of this kind cannot say.
    - `answer` is the body of the reply that the sender expects.
    """

    name: str
    title: str
    parse: Callable[[str, bytes, Tokenizer], list[ReceivedMessage] | Rejected]
    render: Callable[[ReceivedMessage], PushBody]
    answer: bytes = b""
    answer_type: str = "application/json"


class PushBody(NamedTuple):
    """A request's body with its content type."""

    content_type: str
    data: bytes


def json_body(value: Any) -> PushBody:
    """Write a body of JSON."""
    return PushBody("application/json", encode_json(value))


def unreadable(name: str, detail: str) -> Rejected:
    """Make a rejection of a body that cannot be read."""
    return Rejected(reason=Reason.UNREADABLE, detail=f"{name}: {detail}")


def not_understood(name: str, detail: str) -> Rejected:
    """Make a rejection of a body that can be read but says nothing that is known."""
    return Rejected(reason=Reason.NOT_UNDERSTOOD, detail=f"{name}: {detail}")


def read_body(name: str, content_type: str, body: bytes) -> dict[str, Any] | Rejected:
    """Read a body as one object: the JSON or XML of it, or of the first part that holds any."""
    if len(body) > MAX_BODY:
        detail = f"{name}: {len(body)} bytes; the limit is {MAX_BODY}"
        return Rejected(reason=Reason.TOO_LARGE, detail=detail)
    if content_type.lower().startswith("multipart/"):
        return _read_multipart(name, content_type, body)
    table = _read_object(body)
    if table is None:
        return unreadable(name, f"{len(body)} bytes are neither a JSON nor an XML object")
    return table


def _read_multipart(name: str, content_type: str, body: bytes) -> dict[str, Any] | Rejected:
    parts = _split_multipart(content_type, body)
    for part in parts:
        table = _read_object(part)
        if table is not None:
            return table
    return unreadable(name, f"none of the {len(parts)} parts holds a JSON or XML object")


def _split_multipart(content_type: str, body: bytes) -> list[bytes]:
    """Split a multipart body into its parts; pictures are left out unread."""
    type_line = re.sub(r"[\r\n]+", " ", content_type)[:500].encode("latin-1", "replace")
    try:
        message = BytesParser(policy=compat32).parsebytes(
            b"Content-Type: " + type_line + b"\r\n\r\n" + body
        )
        if not message.is_multipart():
            return []
        parts: list[Any] = list(message.get_payload())
        payloads = [
            part.get_payload(decode=True)
            for part in parts[:MAX_PARTS]
            if not isinstance(part, str) and part.get_content_maintype() != "image"
        ]
    except (ValueError, LookupError, TypeError, AttributeError, IndexError, RecursionError):
        return []
    return [payload for payload in payloads if isinstance(payload, bytes)]


def _read_object(data: bytes) -> dict[str, Any] | None:
    """Read JSON or XML as an object; None where it is none."""
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return _read_xml(text)
    value = _read_json(text)
    return value if isinstance(value, dict) else None


def _read_json(text: bytes) -> Any:
    """Read JSON in UTF-8 or GB 18030; None where it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        pass
    try:
        return msgspec.json.decode(text.decode("gb18030"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return None


def _read_xml(data: bytes) -> dict[str, Any] | None:
    """Read XML as nested dictionaries without namespaces; None where it is none.

    A document type is refused: its entities could expand without limit.
    """
    try:
        text = data.decode(_xml_encoding(data))
    except (UnicodeError, LookupError, ValueError):
        return None
    text = re.sub(r"^<\?xml[^>]{0,300}\?>", "", text)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None
    table = _read_element(root, 0)
    return {_local_name(root.tag): table} if isinstance(table, dict) else None


def _xml_encoding(data: bytes) -> str:
    """Return the encoding that an XML declaration names; GB 18030 stands for its subsets."""
    declared = re.match(rb"<\?xml[^>]{0,200}?encoding=[\"']([A-Za-z0-9_-]{1,40})[\"']", data)
    if declared is None:
        return "utf-8"
    encoding = declared[1].decode("ascii").lower()
    return "gb18030" if encoding in ("gb2312", "gbk") else encoding


def _read_element(node: ElementTree.Element, depth: int) -> Any:
    """Read an element: its text, or a dictionary of its children.

    Children of one name are a list.
    """
    if not len(node) or depth > MAX_DEPTH:
        return (node.text or "").strip()
    children: dict[str, Any] = {}
    for child in node:
        name = _local_name(child.tag)
        value = _read_element(child, depth + 1)
        if name not in children:
            children[name] = value
            continue
        existing = children[name]
        if not isinstance(existing, list):
            existing = [existing]
        children[name] = [*existing, value]
    return children


def _local_name(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def multipart(name: str, part_type: str, payload: bytes, picture: bytes = b"") -> PushBody:
    """Write a multipart body as a terminal does: the event, and a picture beside it."""
    boundary = b"MIME_boundary"
    parts = [_part(f'name="{name}"', part_type, payload)]
    if picture:
        parts.append(_part('name="Picture"; filename="Picture.jpg"', "image/jpeg", picture))
    opened = b"".join(b"--" + boundary + part for part in parts)
    body = opened + b"--" + boundary + b"--\r\n"
    return PushBody("multipart/form-data; boundary=MIME_boundary", body)


def _part(disposition: str, part_type: str, payload: bytes) -> bytes:
    header = f"\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: {part_type}"
    return header.encode() + b"\r\n\r\n" + payload + b"\r\n"


# Values of bodies ---------------------------------------------------------------------------------


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
    """Return a value as a finite number (a numeric string too, a boolean as 0 or 1), or None."""
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def nested(value: Any, *names: str) -> Any:
    """Return the value at a path of names in nested objects; None where the path ends."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def table_at(value: Any, *names: str) -> dict[str, Any]:
    """Return the object at a path of names; an empty one where there is none."""
    table = nested(value, *names)
    return table if isinstance(table, dict) else {}


def time_of(value: Any) -> int | datetime | None:
    """Read a time: milliseconds UTC, or a naive datetime for a local time; None where it is none.

    Known forms are ISO 8601 with or without an offset, seconds or milliseconds of the epoch, and
    fourteen digits, which are a local time written without signs (GA/T 1400).
    """
    if isinstance(value, str) and _COMPACT_TIME.fullmatch(value.strip()):
        digits = value.strip()
        return _parse_iso(f"{digits[:8]}T{digits[8:14]}")
    number = integer_of(value)
    if number is not None:
        return _epoch_ms(number)
    if isinstance(value, str):
        return _parse_iso(value.strip()[:40].replace("/", "-"))
    return None


_COMPACT_TIME = re.compile(r"[0-9]{14}(\.[0-9]+)?")
#: The first instant of the year 10000.
_LATEST_MS = 253_402_300_800_000


def _epoch_ms(number: int) -> int | None:
    """Read seconds or milliseconds of the epoch.

    What would be too early in milliseconds is seconds.
    """
    ms = number if number >= EARLIEST_MS else number * 1000
    return ms if EARLIEST_MS <= ms < _LATEST_MS else None


def _parse_iso(text: str) -> int | datetime | None:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            return at.replace(microsecond=at.microsecond // 1000 * 1000)
        ms = round(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return ms if ms >= EARLIEST_MS else None


def event_id(*parts: Any) -> str:
    """Make an event's id of the device's own numbers.

    It is printable, without spaces, and has 1 to 80 characters.
    """
    text = "-".join(str(part) for part in parts if part not in (None, ""))
    return re.sub(r"[^!-~]+", "_", text)[:80] or "none"


def encode_json(value: Any) -> bytes:
    """Write JSON."""
    return msgspec.json.encode(value)


def flatten(value: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Flatten nested objects to dotted names; lists by index. At most `MAX_FIELDS` fields."""
    fields: dict[str, Any] = {}
    for key, inner in _items_of(value):
        name = f"{prefix}{str(key)[:60]}"
        if isinstance(inner, dict | list) and depth < MAX_DEPTH:
            fields.update(flatten(inner, f"{name}.", depth + 1))
        elif inner is not None:
            fields[name] = inner
        if len(fields) >= MAX_FIELDS:
            break
    return fields


def _items_of(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list):
        return enumerate(value)
    return ()
