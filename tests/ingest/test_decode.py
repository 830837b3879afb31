"""Decoding: any bytes are values or a reason, nothing is ever raised, and what is refused can be
replayed.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rejection import Reason, Rejected
from domain.wire import (
    EARLIEST_MS,
    MAX_BYTES,
    MAX_ITEMS,
    Birth,
    BornDevice,
    EventItem,
    Events,
    ReadingItem,
    Readings,
)
from ingest.decode import PERSONAL, Decoded, decode

NOW = 1_795_220_200_000
READINGS, EVENTS = "anju/v1/es/gw/up/readings", "anju/v1/es/gw/up/events"


def reading(**item: Any) -> bytes:
    return json.dumps(
        {"v": 1, "items": [{"device": "em-1", "at": NOW, "values": {"energy_kwh": 1.0}, **item}]}
    ).encode()


def event(**item: Any) -> bytes:
    whole = {
        "device": "door-1",
        "at": NOW,
        "id": "1",
        "kind": "passage",
        "data": {"method": "face", "outcome": "granted"},
        **item,
    }
    return json.dumps({"v": 1, "items": [whole]}).encode()


def reasons(found: Decoded | Rejected) -> list[Reason]:
    return (
        [found.reason]
        if isinstance(found, Rejected)
        else [piece.why.reason for piece in found.refused]
    )


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("anju/v1/es/gw/up/reading", reading(), Reason.BAD_TOPIC),
        ("anju/v1/ES/gw/up/readings", reading(), Reason.BAD_TOPIC),
        ("anju/v1/es/../up/readings", reading(), Reason.BAD_TOPIC),
        (READINGS, b"", Reason.UNREADABLE),
        (READINGS, b"\xff\xfe", Reason.UNREADABLE),
        (READINGS, b"[]", Reason.UNREADABLE),
        (
            READINGS,
            b'{"v":1,"items":[{"device":"em-1","at":1795220200000,"values":{"energy_kwh":NaN}}]}',
            Reason.UNREADABLE,
        ),
        (READINGS, b"[" * 100_000, Reason.UNREADABLE),
        (READINGS, b"x" * (MAX_BYTES + 1), Reason.TOO_LARGE),
        (READINGS, json.dumps({"v": 2, "items": []}).encode(), Reason.BAD_VERSION),
        (READINGS, json.dumps({"v": True, "items": []}).encode(), Reason.BAD_VERSION),
        (READINGS, json.dumps({"items": []}).encode(), Reason.BAD_VERSION),
        (READINGS, json.dumps({"v": 1, "seq": 3, "items": []}).encode(), Reason.BAD_SHAPE),
        (
            READINGS,
            json.dumps({"v": 1, "boot": "A/B", "seq": 3, "items": []}).encode(),
            Reason.BAD_ID,
        ),
        (
            READINGS,
            json.dumps({"v": 1, "items": [{}] * (MAX_ITEMS + 1)}).encode(),
            Reason.TOO_LARGE,
        ),
        (READINGS, reading(device="em 1"), Reason.BAD_ID),
        (READINGS, reading(device=7), Reason.BAD_SHAPE),
        (READINGS, reading(at=NOW // 1000), Reason.BAD_TIME),
        (READINGS, reading(at="2026-11-21"), Reason.BAD_SHAPE),
        (READINGS, reading(at=True), Reason.BAD_SHAPE),
        (READINGS, reading(at=NOW + 3_600_000), Reason.CLOCK_AHEAD),
        (READINGS, reading(values={}), Reason.BAD_SHAPE),
        (READINGS, reading(values={"energy_kwh": "1"}), Reason.BAD_VALUE),
        (READINGS, reading(values={"energy_kwh": True}), Reason.BAD_VALUE),
        (READINGS, reading(values={"energy_kwh": None}), Reason.BAD_VALUE),
        (READINGS, reading(values={"energy_kwh": -1}), Reason.BAD_VALUE),
        (READINGS, reading(values={"energy_kwh": 1e300}), Reason.BAD_VALUE),
        (READINGS, reading(values={"Energy": 1}), Reason.BAD_ID),
        (EVENTS, event(id=""), Reason.BAD_ID),
        (EVENTS, event(kind="party"), Reason.BAD_EVENT),
        (EVENTS, event(data={"method": "magic", "outcome": "granted"}), Reason.BAD_EVENT),
        (EVENTS, event(data={"outcome": "granted"}), Reason.BAD_EVENT),
        (
            EVENTS,
            event(data={"method": "face", "outcome": "granted", "x": "a\x00b"}),
            Reason.BAD_EVENT,
        ),
        (
            EVENTS,
            event(data={"method": "face", "outcome": "granted", "x": "y" * 600}),
            Reason.BAD_EVENT,
        ),
        (EVENTS, event(data=[]), Reason.BAD_SHAPE),
        ("anju/v1/es/gw/up/state", b'{"v":1,"online":"yes","at":1795220200000}', Reason.UNREADABLE),
        ("anju/v1/es/gw/up/state", b'{"v":1,"online":true,"at":1795220200}', Reason.BAD_TIME),
        (
            "anju/v1/es/gw/up/state",
            b'{"v":1,"online":true,"at":1795220200000,"outbox":-99999999999}',
            Reason.BAD_VALUE,
        ),
        (
            "anju/v1/es/gw/up/birth",
            msgspec.json.encode(
                Birth(v=1, boot="b1", at=NOW, devices=[BornDevice(device="ab", profile="x\0")])
            ),
            Reason.BAD_SHAPE,
        ),
        (READINGS, b'{"v":1}', Reason.UNREADABLE),
        (
            READINGS,
            b'{"v":1,"items":[{"device":"em-1","at":1795220200000,"values":{"energy_kwh":'
            + b"9" * 400
            + b"}}]}",
            Reason.BAD_VALUE,
        ),
        (
            "anju/v1/es/gw/up/birth",
            msgspec.json.encode(
                Birth(v=1, boot="b1", at=NOW, devices=[BornDevice(device="A", profile="x")])
            ),
            Reason.BAD_ID,
        ),
    ],
)
def test_what_does_not_fit_has_a_reason_that_names_it(
    topic: str, payload: bytes, reason: Reason
) -> None:
    found = decode(topic, payload, NOW)
    assert reasons(found) == [reason]
    details = (
        [found.detail] if isinstance(found, Rejected) else [p.why.detail for p in found.refused]
    )
    assert all(10 < len(text) < 700 for text in details)


def test_siblings_of_a_bad_item_and_of_a_bad_value_are_kept() -> None:
    items = [
        {
            "device": "em-1",
            "at": NOW,
            "values": {"energy_kwh": 1.0, "voltage_v": "high", "power_w": 5},
        },
        {"device": "em-2", "at": 12, "values": {"energy_kwh": 1.0}},
        "nonsense",
        {"device": "em-3", "at": NOW, "values": {"energy_kwh": 2.0}, "vendor": {"extra": 1}},
    ]
    found = decode(
        READINGS, json.dumps({"v": 1, "boot": "b1", "seq": 4, "items": items}).encode(), NOW
    )
    assert isinstance(found, Decoded)
    assert list(zip(found.devices, found.names, found.values, strict=True)) == [
        ("em-1", "energy_kwh", 1.0),
        ("em-1", "power_w", 5.0),
        ("em-3", "energy_kwh", 2.0),
    ]
    assert reasons(found) == [Reason.BAD_VALUE, Reason.BAD_TIME, Reason.BAD_SHAPE]
    assert found.received == len(found.values) + len(found.refused) == 6


def test_a_number_too_large_for_a_float_does_not_take_its_siblings_along() -> None:
    payload = (
        b'{"v":1,"items":[{"device":"em-1","at":1795220200000,"values":{"power_w":1e999}},'
        b'{"device":"em-2","at":1795220200000,"values":{"power_w":1}}]}'
    )
    found = decode(READINGS, payload, NOW)
    assert isinstance(found, Decoded) and found.devices == ["em-2"] and len(found.refused) == 1


def test_what_would_hold_a_person_is_dropped_before_anything_is_stored() -> None:
    data = {
        "method": "face",
        "outcome": "granted",
        "person": "p-7f3a",
        **dict.fromkeys(PERSONAL, "x"),
    }
    found = decode(EVENTS, event(data=data), NOW)
    assert isinstance(found, Decoded)
    assert set(found.events[0].data) == {"method", "outcome", "person", "dropped"}


def test_a_refused_piece_decodes_to_itself_again() -> None:
    found = decode(READINGS, reading(values={"energy_kwh": -1, "power_w": 2}), NOW)
    assert isinstance(found, Decoded)
    again = decode(READINGS, found.refused[0].payload, NOW)
    assert isinstance(again, Decoded) and [p.payload for p in again.refused] == [
        p.payload for p in found.refused
    ]


@given(st.binary(max_size=400), st.sampled_from(["readings", "events", "state", "birth"]))
def test_any_bytes_are_values_or_a_reason(payload: bytes, up: str) -> None:
    assert isinstance(decode(f"anju/v1/es/gw/up/{up}", payload, NOW), Decoded | Rejected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["v", "items", "boot", "seq", "sent_at", "replayed", "x"]), json_values
    ),
    st.lists(
        st.dictionaries(
            st.sampled_from(["device", "at", "values", "id", "kind", "data"]), json_values
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_any_json_is_values_or_a_reason(
    envelope: dict[str, Any], items: list[Any], fits: bool
) -> None:
    if fits:
        envelope |= {"v": 1, "items": items}
    payload = json.dumps(envelope).encode("utf-8", "replace")
    for topic in (READINGS, EVENTS):
        found = decode(topic, payload, NOW)
        if isinstance(found, Decoded):
            assert found.received == len(found.values) + len(found.events) + len(found.refused)


ids = st.from_regex(r"[a-z0-9][a-z0-9-]{1,39}", fullmatch=True)
times = st.integers(EARLIEST_MS, NOW)


@given(
    st.lists(
        st.builds(
            ReadingItem,
            device=ids,
            at=times,
            values=st.dictionaries(
                st.sampled_from(["energy_kwh", "water_m3", "x_y"]), st.floats(0, 1e6), min_size=1
            ),
        ),
        max_size=5,
    )
)
def test_what_fits_comes_through_unchanged(items: list[ReadingItem]) -> None:
    found = decode(READINGS, msgspec.json.encode(Readings(v=1, boot="b1", seq=1, items=items)), NOW)
    assert isinstance(found, Decoded) and not found.refused
    flat = [(i.device, i.at, n, v) for i in items for n, v in i.values.items()]
    assert list(zip(found.devices, found.at, found.names, found.values, strict=True)) == flat


@given(
    st.lists(
        st.builds(
            EventItem,
            device=ids,
            at=times,
            id=st.just("7"),
            kind=st.just("plate"),
            data=st.just({"token": "t"}),
        ),
        max_size=5,
    )
)
def test_events_that_fit_come_through_unchanged(items: list[EventItem]) -> None:
    found = decode(EVENTS, msgspec.json.encode(Events(v=1, boot="b1", seq=1, items=items)), NOW)
    assert isinstance(found, Decoded) and found.events == items
