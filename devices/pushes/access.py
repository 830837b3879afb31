"""Any other reader at a door: ID card, fingerprint, gait, QR, phone, in one plain JSON object or a
list of them.

    {"device": "reader-3", "id": "17", "time": "2026-11-21T08:00:00+08:00", "method": "id_card",
    "outcome": "granted",
     "direction": "in", "person": "…", "credential": "…"}

`method` may be a word of the wire contract or a code of the residential access standards (100501
and its like). Whatever identifies a person becomes a token here; no modality is privileged.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushBody,
    PushFormat,
    event_id,
    json_body,
    not_understood,
    number_of,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected
from domain.wire import Direction, Method, Outcome

NAME = "access"

#: Ways to open a door as the community platforms number them.
_METHOD_CODES = {
    "100101": Method.CARD,
    "100201": Method.FACE,
    "100301": Method.PHONE,
    "100302": Method.PHONE,
    "100303": Method.REMOTE,
    "100401": Method.BUTTON,
    "100402": Method.CODE,
    "100501": Method.ID_CARD,
    "100601": Method.REMOTE,
    "100701": Method.QR,
}
MAX_LIST = 500


def parse(content_type: str, body: bytes, tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse one passage or a list of them.

    One entry that does not fit rejects the whole body, so that its sender learns of it.
    """
    rows = _read_rows(content_type, body)
    if isinstance(rows, Rejected):
        return rows
    if len(rows) > MAX_LIST:
        return not_understood(NAME, f"{len(rows)} passages; the limit is {MAX_LIST}")
    messages: list[ReceivedMessage] = []
    for row in rows:
        if not isinstance(row, dict):
            return not_understood(NAME, "an entry is no object")
        message = _parse_row(row, tokenize)
        if isinstance(message, Rejected):
            return message
        messages.append(message)
    return messages


def _read_rows(content_type: str, body: bytes) -> list[Any] | Rejected:
    if not body.lstrip().startswith(b"["):
        row = read_body(NAME, content_type, body)
        return row if isinstance(row, Rejected) else [row]
    try:
        rows: list[Any] = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return not_understood(NAME, "the list is not JSON")
    return rows


def _parse_row(row: dict[str, Any], tokenize: Tokenizer) -> ReceivedMessage | Rejected:
    native = text_of(row.get("device")).lower()
    if not native:
        return not_understood(NAME, "`device` names no reader")
    method_word = text_of(row.get("method")).lower()
    if not method_word and text_of(row.get("alive")):
        return ReceivedHeartbeat(native=native)
    method = _METHOD_CODES.get(method_word, method_word)
    if method not in list(Method):
        return not_understood(NAME, f"method {method_word!r}; use one of {', '.join(Method)}")
    number = text_of(row.get("id"))
    if not number:
        problem = f"a passage at {native} has no `id`"
        return not_understood(NAME, f"{problem}; without one a repeat cannot be told")
    outcome = text_of(row.get("outcome")) or "unknown"
    direction = text_of(row.get("direction")) or "unknown"
    if outcome not in list(Outcome) or direction not in list(Direction):
        words = f"outcome {outcome!r} or direction {direction!r}"
        return not_understood(NAME, f"{words} is no word of the contract")
    data: dict[str, Any] = {"method": str(method), "outcome": outcome, "direction": direction}
    _add_identity(data, row, tokenize)
    # The id holds the time, since a reader that was reset counts from one again.
    return ReceivedEvent(
        native=native,
        at=time_of(row.get("time")),
        id=event_id(number, text_of(row.get("time"))),
        kind="passage",
        data=data,
    )


def _add_identity(data: dict[str, Any], row: dict[str, Any], tokenize: Tokenizer) -> None:
    """Add who passed, as tokens, and how sure the reader is."""
    person = text_of(row.get("person"))
    if person:
        data["person"] = tokenize("person", person)
    credential = text_of(row.get("credential"))
    if credential:
        data["credential"] = tokenize("card", credential)
    similarity = number_of(row.get("similarity"))
    if similarity is not None:
        data["similarity"] = similarity


def render(message: ReceivedMessage) -> PushBody:
    """Write a passage as a reader sends it.

    Raises: ValueError for what a reader cannot say.
    """
    if isinstance(message, ReceivedHeartbeat):
        return json_body({"device": message.native, "alive": "1"})
    if not isinstance(message, ReceivedEvent) or message.kind != "passage":
        raise ValueError(f"{NAME}: a reader sends passages only")
    time = message.at.isoformat() if isinstance(message.at, datetime) else message.at
    number = message.id if time is None else message.id.removesuffix(f"-{time}")
    return json_body({"device": message.native, "id": number, "time": time, **message.data})


PUSH = PushFormat(name=NAME, title="Any reader (plain JSON)", parse=parse, render=render)
