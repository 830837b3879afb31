"""The hard city: the same seed gives the same homes, and its messages fit the wire."""

from __future__ import annotations

from collections import Counter
from datetime import date

import msgspec
import numpy as np
import pytest

from domain import wire
from domain.ids import valid_id
from simulators.world import meters, people, stories, traffic
from simulators.world.city import FITTINGS, WorldCity

CITY = WorldCity(seed=3, units=480, first=date(2024, 9, 1), days=200)


def test_the_same_seed_gives_the_same_home_whoever_else_lives_there() -> None:
    for index in (0, 77, 479):
        _, _, one = traffic.made(CITY, index)
        _, _, two = traffic.made(WorldCity(seed=3, units=5000, first=CITY.first, days=200), index)
        for a, b in zip(one.series, two.series, strict=True):
            assert np.array_equal(a.minute, b.minute) and np.array_equal(a.value, b.value)


def test_every_line_fits_the_wire_contract() -> None:
    homes = [traffic.made(CITY, i) for i in range(48)]
    codes = {
        row["code"] for row in traffic.register_rows(CITY, [(h, m) for h, _, m in homes])["devices"]
    }
    seqs: dict[str, list[int]] = {}
    for n, line in enumerate(traffic.lines(CITY, homes)):
        topic = wire.parse_up_topic(line["topic"])
        assert topic is not None and valid_id(topic.estate) and valid_id(topic.gateway)
        kind = wire.Readings if topic.up is wire.Up.READINGS else wire.Events
        message = msgspec.json.decode(msgspec.json.encode(line["payload"]), type=kind)
        assert {item.device for item in message.items} <= codes and len(
            message.items
        ) <= wire.MAX_ITEMS
        assert all(item.at <= line["payload"]["sent_at"] for item in message.items)
        seqs.setdefault(line["topic"], []).append(line["payload"]["seq"])
        assert n < 5000
    assert all(found == list(range(1, len(found) + 1)) for found in seqs.values())


def test_a_lock_tells_its_battery_while_it_has_power_and_sees_nobody_without() -> None:
    index = next(i for i in range(20_000) if CITY.fitting(i).lock and not CITY.powered(i).all())
    home, household, meters = traffic.made(CITY, index)
    powered = CITY.powered(index)
    assert all(np.isnan(p.hours[~powered]).all() for p in household.passages)
    told = {
        (item["at"] // 86_400_000 * 86_400_000)
        for line in traffic.lines(CITY, [(home, household, meters)])
        for item in line["payload"]["items"]
        if "battery_pct" in item.get("values", {})
    }
    assert len(told) == int((powered & ~CITY.outage(index)).sum())


def test_registers_never_fall_but_for_a_fault() -> None:
    for index in range(100):
        home, _, seen = traffic.made(CITY, index)
        wrong = {kind for kind, _, _ in seen.faults}
        for series in seen.series:
            if not wrong & {"meter_reversed", "meter_swapped"}:
                assert (np.diff(series.value) >= 0).all(), (index, home.stories)


def test_the_truth_is_about_where_people_sleep() -> None:
    for index in range(480):
        home = CITY.home(index)
        slept = np.zeros(CITY.days, dtype=bool)
        for person in home.people:
            if not person.caller:
                slept |= person.here
        for truth in home.truths:
            if truth.kind == "unoccupied":
                assert not slept[truth.start : truth.end].any() and truth.end - truth.start >= 30
            if truth.kind in ("unauthorised", "tenancy_ended"):
                assert slept[truth.start : truth.end].mean() > 0.5


def test_shares_are_those_that_are_told() -> None:
    many = WorldCity(seed=9, units=20_000, first=date(2024, 9, 1), days=30)
    kinds = Counter(t.kind for i in range(0, 20_000, 4) for t in many.home(i).truths)
    assert kinds["subletting"] == pytest.approx(stories.SUBLET_SHARE * 5000, abs=14)
    assert sum(share for share, _ in FITTINGS) == pytest.approx(1.0)
    fitted = Counter(many.fitting(i).name for i in range(0, 20_000, 48))
    assert len(fitted) == len(FITTINGS)


def test_nobody_does_wrong_in_a_normal_city() -> None:
    normal = WorldCity(seed=3, units=480, first=date(2024, 9, 1), days=200, normal=True)
    for index in range(0, 480, 5):
        home, _, seen = traffic.made(normal, index)
        assert not seen.faults and {t.kind for t in home.truths} <= {"unoccupied"}


def test_festivals_and_terms() -> None:
    assert people.festivals(date(2025, 1, 1), 60) == [28]
    assert (
        people.term_time(date(2024, 9, 1), 2).all()
        and not people.term_time(date(2025, 7, 1), 2).any()
    )
    assert meters.profile_of(FITTINGS[0][1], "water") == "water-dn15"
