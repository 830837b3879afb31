"""From what was heard to what is kept: tokens, instants, alarms that change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.mapping import AlarmState, MappedValues, apply_profile, finite_number, scale_decimal
from devices.profiles import AlarmRule, load_profiles
from domain.rejection import Reason, Rejected
from domain.wire import AHEAD_MS, EARLIEST_MS
from gateway.intake import AHEAD_OF_GATEWAY_MS, make_token
from gateway.outbox import OutboxEntry
from gateway.unknown_devices import MAX_NOTES
from tests.gateway.conftest import Bench

KEY = b"a key of sixteen bytes"


@settings(deadline=None)
@given(
    st.sampled_from(["person", "card", "plate"]),
    st.text(min_size=1, max_size=60),
    st.text(min_size=1, max_size=60),
)
def test_tokens_say_nothing_and_tell_apart(kind: str, a: str, b: str) -> None:
    first = make_token(KEY, kind, a)
    assert first == make_token(KEY, kind, a)
    assert len(first) <= 80 and (a not in first or len(a) < 4 or first == a)
    if a != b:
        assert first != make_token(KEY, kind, b)
    assert first == a or first != make_token(b"another key, of another estate", kind, a)


def test_a_token_of_ours_passes_and_whom_we_put_into_a_terminal_too(
    bench: Callable[[str], Bench],
) -> None:
    made = bench("")
    assert made.intake.token("person", "p-7f3a") == "p-7f3a"
    assert made.intake.token("person", "resident 12") != "resident 12"
    made.intake.own_people.add("resident 12")
    assert made.intake.token("person", "resident 12") == "resident 12"


@settings(deadline=None)
@given(st.one_of(st.none(), st.integers(-(2**60), 2**60), st.datetimes()))
def test_an_instant_is_always_one_that_the_server_takes(told: int | datetime | None) -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        made = Bench(Path(folder), "")
        now = 1_790_000_000_000
        at = made.intake.resolve_time(told, now).at
        made.outbox.close()
    assert EARLIEST_MS <= at <= now + AHEAD_OF_GATEWAY_MS <= now + AHEAD_MS


def test_an_alarm_is_told_when_it_begins_and_when_it_ends(bench: Callable[[str], Bench]) -> None:
    made, now = bench(""), 1_790_000_000_000

    def say(on: bool, key: str = "a:1:gas") -> list[str]:
        alarm = AlarmState(key=key, kind="hazard", word="gas", on=on, value=1)
        entry = made.intake.convert_values("g-1", MappedValues(alarms=(alarm,)), at=now)
        made.outbox.put([entry])
        return [f"{i.kind} {i.data['state']}" for i in entry.items]  # type: ignore[union-attr]

    assert say(False) == []
    assert say(True) == ["hazard on"]
    assert say(True) == []
    assert say(True, "b:1:gas") == ["hazard on"]
    # The other row still holds: the danger is not over.
    assert say(False) == ["device off"]
    assert say(False, "b:1:gas") == ["hazard off"]


@pytest.mark.parametrize(
    ("alarm", "value", "holds"),
    [
        (AlarmRule(item="s", kind="device", word="fault", bit=2), 4.0, True),
        (AlarmRule(item="s", kind="device", word="fault", bit=2), 3, False),
        (AlarmRule(item="s", kind="device", word="fault", bit=2), "4", None),
        (AlarmRule(item="s", kind="device", word="fault", equals=("1", "true")), True, True),
        (AlarmRule(item="s", kind="device", word="fault", equals=("1",)), 1.0, True),
        (AlarmRule(item="s", kind="device", word="fault", equals=("alarm",)), "ALARM", True),
        (AlarmRule(item="s", kind="device", word="fault", above=300), 301, True),
        (AlarmRule(item="s", kind="device", word="fault", below=15), 15, False),
    ],
)
def test_alarm_maps(alarm: AlarmRule, value: object, holds: bool | None) -> None:
    assert alarm.holds(value) is holds


def test_fields_that_are_no_numbers_give_no_values() -> None:
    profile = load_profiles()["nb-water"]
    assert apply_profile(profile, {"total_m3": "12.5", "battery_voltage": "n/a"}).values == {
        "water_m3": 12.5
    }
    assert (
        finite_number(True) is None
        and finite_number("inf") is None
        and finite_number(10**400) is None
    )
    assert scale_decimal(0.2871, 1000.0) == 287.1


def test_an_alarm_of_a_field_with_a_chinese_name_has_an_id_that_the_server_takes() -> None:
    from domain.ids import valid_event_id
    from gateway.intake import alarm_id

    names = {
        alarm_id(key, "on", 1_790_000_000_000)
        for key in ("报警状态:1:smoke", "电池状态:1:smoke", "x" * 200, "a b")
    }
    assert len(names) == 4 and all(valid_event_id(name) for name in names)


def test_unknown_devices_are_counted_and_bounded(bench: Callable[[str], Bench]) -> None:
    made = bench("")
    for n in range(3 * MAX_NOTES):
        made.unknown_devices.note_device("doors", f"mac-{n}", "terminal")
    made.unknown_devices.note_rejection("doors", Rejected(reason=Reason.UNREADABLE, detail="x"))
    made.unknown_devices.note_rejection("doors", Rejected(reason=Reason.UNREADABLE, detail="x"))
    made.unknown_devices.save()
    text = made.outbox.recall("unknown_devices") or ""
    assert len(made.unknown_devices._notes) == MAX_NOTES and '"count": 2' in text
    made.outbox.put([OutboxEntry(memory={"a": "b"})])
    assert made.outbox.recall_all("a") == {"a": "b"}
