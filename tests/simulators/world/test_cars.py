"""Cars go where their drivers go, through gates that some yards have."""

from __future__ import annotations

from datetime import date

import numpy as np

from simulators.world import traffic
from simulators.world.cars import visitors
from simulators.world.city import PER_BUILDING, WorldCity

CITY = WorldCity(seed=5, units=960, first=date(2024, 9, 1), days=120)


def test_a_car_passes_the_gate_when_its_driver_goes() -> None:
    seen = 0
    for index in range(240):
        home, household, _ = traffic.made(CITY, index)
        if home.car is None:
            continue
        assert CITY.gated(index) and home.car.hours.shape == (CITY.days, 4)
        passed = ~np.isnan(home.car.hours)
        if not any(t.kind == "subletting" for t in home.truths):
            drivers = [p for p in household.passages if str(p.person.token).startswith("p-")]
            assert any((passed <= ~np.isnan(p.ways)).all() for p in drivers)
        hours = home.car.hours[passed]
        assert (hours >= 0).all() and (hours < 24).all()
        seen += 1
    assert seen > 20


def test_few_have_a_car_that_anybody_knows_of() -> None:
    homes = [traffic.made(CITY, i)[0] for i in range(CITY.units)]
    gated = [home for home in homes if CITY.gated(home.index)]
    assert 0.2 < np.mean([home.car is not None for home in gated]) < 0.4
    assert all(home.car is None for home in homes if not CITY.gated(home.index))


def test_somebodys_car_passes_every_day() -> None:
    counts = visitors(CITY, 0)
    assert (counts > 0).all() and np.array_equal(counts, visitors(CITY, PER_BUILDING - 1))


def test_gates_and_vehicles_stand_in_the_register() -> None:
    index = next(i for i in range(0, CITY.units, PER_BUILDING) if CITY.gated(i))
    homes = [traffic.made(CITY, i) for i in range(index, index + PER_BUILDING)]
    sheets = traffic.register_rows(CITY, [(home, seen) for home, _, seen in homes])
    assert [row["kind"] for row in sheets["devices"]].count("gate") == 1
    assert len(sheets["vehicles"]) == sum(home.car is not None for home, _, _ in homes)
