"""The contract's documents are what the code says, and what they allow is what ingest takes."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from anju.contract import asyncapi, documents, schema_of
from domain.wire import Ack, EventItem, Events, ReadingItem, Readings, State
from ingest.decode import Decoded, decode
from tests.conftest import ROOT

NOW = 1_795_220_200_000


def test_the_documents_are_current() -> None:
    for path, text in documents(ROOT / "docs" / "wire").items():
        assert path.read_text("utf-8") == text, f"{path.name} is out of date: run `make contract`"


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "readings",
            Readings(
                v=1,
                boot="k3f9",
                seq=1,
                sent_at=NOW,
                items=[ReadingItem(device="em-1", at=NOW, values={"energy_kwh": 1.5})],
            ),
        ),
        (
            "events",
            Events(
                v=1,
                boot="k3f9",
                seq=1,
                items=[
                    EventItem(
                        device="d-1",
                        at=NOW,
                        id="1",
                        kind="passage",
                        data={"method": "face", "outcome": "granted", "direction": "in"},
                    )
                ],
            ),
        ),
        ("state", State(v=1, online=True, at=NOW, boot="k3f9")),
        ("ack", Ack(v=1, kind="events", boot="k3f9", upto=4, also=[6])),
    ],
)
def test_what_we_send_fits_its_schema(name: str, message: Any) -> None:
    assert list(validator(name).iter_errors(json.loads(msgspec.json.encode(message)))) == []


BAD_READINGS: list[dict[str, Any]] = [
    {"device": "A"},
    {"at": 12},
    {"values": {}},
    {"values": {"Energy": 1}},
    {"values": {"energy_kwh": "1"}},
]
BAD_EVENTS: list[dict[str, Any]] = [
    {"kind": "party"},
    {"id": ""},
    {"data": {"outcome": "granted"}},
    {"data": {"method": "magic", "outcome": "granted"}},
]


@pytest.mark.parametrize(
    ("up", "change"), [("readings", c) for c in BAD_READINGS] + [("events", c) for c in BAD_EVENTS]
)
def test_schema_and_decoder_refuse_the_same(up: str, change: dict[str, Any]) -> None:
    good = {"device": "em-1", "at": NOW} | (
        {"values": {"energy_kwh": 1.0}}
        if up == "readings"
        else {"id": "1", "kind": "passage", "data": {"method": "card", "outcome": "denied"}}
    )
    for item, fits in ((good, True), (good | change, False)):
        message = {"v": 1, "items": [item]}
        found = decode(f"anju/v1/es/gw/up/{up}", json.dumps(message).encode(), NOW)
        assert isinstance(found, Decoded) and (not found.refused) is fits
        assert validator(up).is_valid(message) is fits


def test_asyncapi_names_every_topic() -> None:
    addresses = {
        channel["address"].rsplit("/", 2)[-2:][0] + "/" + name
        for name, channel in asyncapi()["channels"].items()
    }
    assert addresses == {
        "up/readings",
        "up/events",
        "up/state",
        "up/birth",
        "down/ack",
        "down/backfill",
        "down/command",
        "down/time",
    }
