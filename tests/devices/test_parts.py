"""The small parts that codecs and pushes are made of: bodies, instants, numbers, what a poll asks
slowly.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.messages import ReceivedEvent
from devices.polls.modbus import parse_item
from devices.polls.query import alarm_only_items, unknown_command
from devices.profiles import load_profiles
from devices.pushes import body
from domain.rejection import Rejected


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-11-21T08:30:15+08:00", 1795221015000),
        ("2026-11-21T08:30:15", datetime(2026, 11, 21, 8, 30, 15)),
        ("2026/11/21 08:30:15", datetime(2026, 11, 21, 8, 30, 15)),
        ("20261121083015", datetime(2026, 11, 21, 8, 30, 15)),
        (1795221015, 1795221015000),
        ("1795221015123", 1795221015123),
        ("yesterday", None),
        (True, None),
        (-1, None),
        (10**30, None),
        (None, None),
    ],
)
def test_instants(value: object, at: object) -> None:
    assert body.time_of(value) == at


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.lists(st.integers()),
        st.dictionaries(st.text(), st.integers()),
    )
)
def test_values_of_any_kind_raise_nothing(value: object) -> None:
    found = body.number_of(value)
    assert found is None or found - found == 0.0
    assert isinstance(body.text_of(value), str) and len(body.text_of(value)) <= 80
    body.integer_of(value), body.time_of(value), body.nested(value, "a", "b"), body.flatten(value)
    assert 1 <= len(body.event_id(value)) <= 80


def test_a_body_is_the_first_part_that_holds_an_object() -> None:
    kind, data = body.multipart("event_log", "application/json", b'{"a": 1}', b"\xff\xd8 picture")
    assert body.read_body("x", kind, data) == {"a": 1}
    assert body.read_body("x", "application/json", '{"名": "值"}'.encode("gb18030")) == {"名": "值"}
    for kind, data in (
        ("multipart/form-data", b"no boundary"),
        ("application/json", b"[1]"),
        ("", b""),
        ("application/xml", b"<a><b></a>"),
    ):
        assert isinstance(body.read_body("x", kind, data), Rejected)


def test_nesting_that_has_no_end_is_bounded() -> None:
    assert isinstance(body.read_body("x", "application/json", b"[" * 100_000), Rejected)
    assert isinstance(
        body.read_body("x", "application/xml", b"<a>" * 50_000 + b"</a>" * 50_000), Rejected | dict
    )
    assert len(body.flatten({str(n): n for n in range(1000)})) <= 200


def test_what_only_alarms_need_is_asked_slowly() -> None:
    profiles = load_profiles()
    assert alarm_only_items(profiles["dlt645-2007"]) == ["04000501", "04000503"]
    assert alarm_only_items(profiles["modbus-residual-current"]) == []
    assert "it has valve open, valve close" in str(
        unknown_command(profiles["cjt188-water-dn15"], "valve", "half")
    )
    with pytest.raises(ValueError, match="write table:address"):
        parse_item("holding")
    assert ReceivedEvent(native="a", at=None, id="1", kind="device").data == {}
