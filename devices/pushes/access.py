"""Any other reader at a door: ID card, fingerprint, gait, QR, phone, in one plain JSON object or a list of them.

    {"device": "reader-3", "id": "17", "time": "2026-11-21T08:00:00+08:00", "method": "id_card", "outcome": "granted",
     "direction": "in", "person": "…", "credential": "…"}

`method` may be a word of the wire contract or a code of the residential access standards (100501 and its like). Whatever
identifies a person becomes a token here; no modality is privileged.
"""

from __future__ import annotations

from typing import Any

import msgspec

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushFormat,
    encode_json,
    event_id,
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
_CODES = {
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


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Read one passage or a list of them; one that does not fit refuses the whole, so that its sender learns of it."""
    if body.lstrip()[:1] == b"[":
        try:
            rows = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            return not_understood(NAME, "the list is not JSON")
    else:
        found = read_body(NAME, content_type, body)
        if isinstance(found, Rejected):
            return found
        rows = [found]
    if len(rows) > MAX_LIST:
        return not_understood(NAME, f"{len(rows)} passages; the limit is {MAX_LIST}")
    heard: list[ReceivedMessage] = []
    for row in rows:
        item = (
            _passage(row, tokens)
            if isinstance(row, dict)
            else not_understood(NAME, "an entry is no object")
        )
        if isinstance(item, Rejected):
            return item
        heard.append(item)
    return heard


def _passage(row: dict[str, Any], tokens: Tokenizer) -> ReceivedMessage | Rejected:
    native = text_of(row.get("device")).lower()
    if not native:
        return not_understood(NAME, "`device` names no reader")
    word = text_of(row.get("method")).lower()
    if not word and text_of(row.get("alive")):
        return ReceivedHeartbeat(native=native)
    method = _CODES.get(word, word)
    if method not in list(Method):
        return not_understood(NAME, f"method {word!r}; use one of {', '.join(Method)}")
    number_of_it = text_of(row.get("id"))
    if not number_of_it:
        return not_understood(
            NAME, f"a passage at {native} has no `id`; without one a repeat cannot be told"
        )
    outcome, direction = (
        text_of(row.get("outcome")) or "unknown",
        text_of(row.get("direction")) or "unknown",
    )
    if outcome not in list(Outcome) or direction not in list(Direction):
        return not_understood(
            NAME, f"outcome {outcome!r} or direction {direction!r} is no word of the contract"
        )
    data: dict[str, Any] = {"method": str(method), "outcome": outcome, "direction": direction}
    for name, kind in (("person", "person"), ("credential", "card")):
        if text_of(row.get(name)):
            data[name] = tokens(kind, text_of(row[name]))
    similarity = number_of(row.get("similarity"))
    if similarity is not None:
        data["similarity"] = similarity
    # With its time, since a reader that was reset counts from one again.
    number_of_it = event_id(number_of_it, text_of(row.get("time")))
    return ReceivedEvent(
        native=native, at=time_of(row.get("time")), id=number_of_it, kind="passage", data=data
    )


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write a passage as a reader sends it.

    Raises: ValueError for what it cannot say.
    """
    if isinstance(heard, ReceivedHeartbeat):
        return "application/json", encode_json({"device": heard.native, "alive": "1"})
    if not isinstance(heard, ReceivedEvent) or heard.kind != "passage":
        raise ValueError(f"{NAME}: a reader sends passages only")
    time = heard.at if isinstance(heard.at, int) or heard.at is None else heard.at.isoformat()
    number_of_it = heard.id if time is None else heard.id.removesuffix(f"-{time}")
    return "application/json", encode_json(
        {"device": heard.native, "id": number_of_it, "time": time, **heard.data}
    )


PUSH = PushFormat(name=NAME, title="Any reader (plain JSON)", parse=parse, render=render)
