"""The simulated city: the same seed gives the same bytes, a longer run the same past."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from domain.register import SHEET_OF
from domain.register_rows import check_headings, read_row
from simulators import households, stream
from simulators.city import Story, build_city, city_from
from simulators.files import register_rows, truth_rows, write_city

ANCHOR = date(2026, 1, 1)


def test_the_same_seed_gives_the_same_city_and_another_another() -> None:
    first, again, other = (city_from(seed=s, units=96, anchor=ANCHOR, days=60) for s in (1, 1, 2))
    assert first == again and truth_rows(first) != truth_rows(other)
    stories = {home.story for home in first.homes}
    assert stories == set(Story)


def test_a_longer_run_has_the_same_past() -> None:
    city = city_from(seed=3, units=24, anchor=ANCHOR, days=30)
    for home in city.homes[:6]:
        short, long = households.run_home(city, home, 10), households.run_home(city, home, 20)
        assert np.array_equal(short.water_m3, long.water_m3[:240]) and np.array_equal(
            short.energy_kwh, long.energy_kwh[:240]
        )


def test_registers_only_grow_and_an_empty_home_still_draws() -> None:
    city = city_from(seed=1, units=96, anchor=ANCHOR, days=60)
    for home in city.homes:
        run = households.run_home(city, home, 20)
        assert (np.diff(run.water_m3) >= 0).all() and (np.diff(run.energy_kwh) >= 0).all()
    left = next(home for home in city.homes if home.story is Story.LEFT)
    assert left.from_day is not None
    day = households.live_day(city, left, left.from_day + timedelta(days=3))
    assert day.litres.sum() == 0 and 0.2 < day.kwh.sum() < 1.3 and not day.passages


def test_messages_cover_a_span_exactly_once() -> None:
    city = city_from(seed=1, units=48, anchor=ANCHOR, days=30)
    present = stream.Present(city, ANCHOR + timedelta(days=9))
    low, high = present.start_ms, present.start_ms + 5 * 86_400_000
    middle = (low + high) // 2 + 12_345
    whole = [i for m in present.readings("gw-01", low, high, 100) for i in m]
    halves = [
        i
        for a, b in ((low, middle), (middle, high))
        for m in present.readings("gw-01", a, b, 77)
        for i in m
    ]
    assert whole == halves and len({(i.device, i.at) for i in whole}) == len(whole) > 5000
    passages = present.passages("gw-01", low, high)
    assert len({(p.device, p.id) for p in passages}) == len(passages) > 100


def test_its_register_files_fit_their_sheets_and_its_truth_is_not_among_them(
    tmp_path: Path,
) -> None:
    city = build_city(seed=1, units=96, days=60, until=datetime(2026, 3, 1, tzinfo=UTC))
    for name, rows in register_rows(city).items():
        assert not check_headings(SHEET_OF[name], list(rows[0]), name)
        assert not [
            e for i, row in enumerate(rows) for e in read_row(SHEET_OF[name], row, name, i)[1]
        ]
    write_city(city, tmp_path / "register")
    assert {p.stem for p in (tmp_path / "register").iterdir()} <= set(SHEET_OF)
    truth = json.loads((tmp_path / "register-truth.json").read_text("utf-8"))
    assert len(truth["homes"]) == 96
    with (tmp_path / "register" / "units.csv").open(encoding="utf-8-sig") as opened:
        assert len(list(csv.DictReader(opened))) == 96
