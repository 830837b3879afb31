"""A simulated city judged in memory: the same intervals, facts, frame and detectors as a night's, without broker and database.

Blocks of homes are independent, so two processes judge two at a time. Each block is judged at the end and, cut off, on every
fourth Sunday before it, so that it is known when something was first said.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from analytics.detectors import DETECTORS
from analytics.facts import BoundsOf, registers_to_days
from analytics.frame import UnitDayFrame, unpack
from analytics.history import COLUMNS, make_frame, until
from analytics.policy import load_policy
from analytics.supply_days import People, SupplyDays, dense
from anju.evaluation.baselines import changed_consumption, quiet_by_threshold
from domain.calendar import day_of, day_starts_ms, from_ms
from domain.measures import REGISTER_OF, Supply
from domain.people import PersonKind
from simulators.world.city import PER_BUILDING, ZONE, WorldCity
from simulators.world.meters import Metered, MeterSeries, profile_of
from simulators.world.people import Household
from simulators.world.stories import StoryHome
from simulators.world.traffic import made, register_rows, truth_of
from store.register.homes import Homes
from store.series.unit_days import INSTANTS

#: Homes that are judged together: whole buildings.
BLOCK = 10 * PER_BUILDING
#: Days between two judgements of a block.
EVERY = 28
_MINUTE_MS = 60_000


@dataclass(slots=True, kw_only=True)
class ReportedFinding:
    """What was said of a home: kind, score, the days it began and ended by what was said, and the first judgement that said it."""

    unit: str
    kind: str
    score: float
    start_day: date
    end_day: date | None
    raised_day: date
    told: bool
    reasons: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Judged:
    """A block's outcome: what was said, what is true, how many homes, what could not be judged, and the baselines' scores."""

    said: list[ReportedFinding] = field(default_factory=list)
    truth: list[dict[str, Any]] = field(default_factory=list)
    units: int = 0
    abstained: dict[str, set[str]] = field(default_factory=dict)
    consumption: dict[str, float] = field(default_factory=dict)
    threshold: dict[str, list[tuple[date, date]]] = field(default_factory=dict)


def judge_city(
    city: WorldCity, bounds: BoundsOf, progress: Callable[[int], None], processes: int = 2
) -> Judged:
    """Judge a whole city; blocks come in any order."""
    jobs = [
        (city, begin, min(begin + BLOCK, city.units), bounds)
        for begin in range(0, city.units, BLOCK)
    ]
    total = Judged()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done in pool.imap_unordered(_job, jobs):
            total.said += done.said
            total.truth += done.truth
            total.units += done.units
            total.consumption |= done.consumption
            total.threshold |= done.threshold
            for key, units in done.abstained.items():
                total.abstained.setdefault(key, set()).update(units)
            progress(done.units)
    return total


def _job(job: tuple[WorldCity, int, int, BoundsOf]) -> Judged:
    city, begin, end, bounds = job
    homes = [made(city, i) for i in range(begin, end)]
    frame = block_frame(city, homes, bounds)
    names = [f"{city.estate(home.index)}/{city.unit(home.index)}" for home, _, _ in homes]
    out = Judged(units=len(homes))
    for home, _, seen in homes:
        out.truth += [
            {**row, "unit": names[home.index - begin]} for row in truth_of(city, home, seen)
        ]
    _judge(frame, names, out)
    out.consumption = dict(zip(names, changed_consumption(frame).tolist(), strict=True))
    out.threshold = {names[u]: spans for u, spans in quiet_by_threshold(frame).items()}
    return out


def _judge(frame: UnitDayFrame, names: list[str], out: Judged) -> None:
    policy = load_policy()
    days = [*range(frame.days - 1 - EVERY * ((frame.days - 1) // EVERY), frame.days, EVERY)]
    held: dict[tuple[int, str], list[ReportedFinding]] = {}
    for n in days:
        shown = until(frame, frame.day(n))
        if shown is None:
            continue
        for detector in DETECTORS:
            found, abstained = detector.detect(shown, policy.params(detector))
            for f in found:
                key = (f.unit, detector.key)
                start = day_of(from_ms(f.since_ms), ZONE)
                end = None if f.until_ms is None else day_of(from_ms(f.until_ms), ZONE)
                told = policy.tells(detector.key, f.score)
                match = next(
                    (
                        s
                        for s in held.get(key, [])
                        if (s.end_day is None or start <= s.end_day)
                        and (end is None or s.start_day <= end)
                    ),
                    None,
                )
                if match is None:
                    held.setdefault(key, []).append(
                        ReportedFinding(
                            unit=names[f.unit - 1],
                            kind=detector.key,
                            score=f.score,
                            start_day=start,
                            end_day=end,
                            raised_day=frame.day(n),
                            told=told,
                            reasons=f.reasons,
                        )
                    )
                else:
                    match.raised_day = match.raised_day if match.told or not told else frame.day(n)
                    match.score, match.start_day, match.end_day, match.reasons = (
                        f.score,
                        start,
                        end,
                        f.reasons,
                    )
                    match.told = match.told or told
            if n == frame.days - 1:
                for a in abstained:
                    out.abstained.setdefault(f"{detector.key}: {a.reason}", set()).add(
                        names[a.unit - 1]
                    )
    out.said = [said for rows in held.values() for said in rows]


# The frame of a block ------------------------------------------------------------------------------------------------


def block_frame(
    city: WorldCity, homes: list[tuple[StoryHome, Household, Metered]], bounds: BoundsOf
) -> UnitDayFrame:
    """Make the frame of some homes, as the store would give it."""
    starts = np.array(day_starts_ms(city.first, city.days, ZONE), dtype=np.float64)
    water, energy = (
        _supply(city, homes, supply, bounds, starts)
        for supply in (Supply.WATER, Supply.ELECTRICITY)
    )
    people, doors = _people(city, homes)
    found = dense(water, energy, people, doors=doors, cars=_cars(city, homes))
    columns: dict[str, NDArray[Any]] = {
        name: found.columns[name] if name in INSTANTS else found.columns[name].astype(np.float32)
        for name in COLUMNS
    }
    for name in columns:
        columns[name] = np.where(found.known, columns[name], np.nan).astype(columns[name].dtype)
    tokens = unpack(found.cells // city.days, found.cells % city.days, found.tokens)
    units = list(range(1, len(homes) + 1))
    return make_frame(
        units, city.first, ZONE, columns, _register(city, homes), tokens=tokens, faults=found.faults
    )


def _supply(
    city: WorldCity,
    homes: list[tuple[StoryHome, Household, Metered]],
    supply: Supply,
    bounds: BoundsOf,
    starts: NDArray[np.float64],
) -> SupplyDays:
    at, value, known = [], [], []
    unit_of: list[int] = []
    word = "water" if supply is Supply.WATER else "energy"
    for u, (home, _, seen) in enumerate(homes):
        for series in seen.series:
            if series.supply == word:
                read = starts[0] + series.minute * float(_MINUTE_MS)
                mounted = _mounted(seen, series, read, starts)
                at.append(read[mounted])
                value.append(series.value[mounted])
                unit_of.append(u)
                known.append(
                    bounds[profile_of(city.fitting(home.index), word), REGISTER_OF[supply]]
                )
    return registers_to_days(
        supply, at, value, known, np.array(unit_of, dtype=np.int64), len(homes), starts
    )


def _mounted(
    seen: Metered, series: MeterSeries, read: NDArray[np.float64], starts: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which of a meter's readings fall into the time for which the register has it at its unit."""
    changed = seen.changed.get(series.supply)
    if changed is None:
        return np.ones(len(read), dtype=bool)
    return np.asarray(read < starts[changed] if series.number == 0 else read >= starts[changed])


def _people(
    city: WorldCity, homes: list[tuple[StoryHome, Household, Metered]]
) -> tuple[People, NDArray[np.int64]]:
    """Add up passages by unit, day and token, as the store's query does."""
    rows = [
        row
        for u, (home, household, _) in enumerate(homes)
        for row in _token_rows(city, u, home, household)
    ]
    table = np.concatenate(rows) if rows else np.empty((0, 8), dtype=np.int64)
    alive = np.zeros((len(homes), city.days), dtype=bool)
    alive[table[:, 0], table[:, 1]] = True
    for u, (home, _, _) in enumerate(homes):
        if city.fitting(home.index).lock:
            alive[u] |= city.powered(home.index) & ~city.outage(home.index)
        if city.fitting(home.index).terminal:
            # A terminal is known to be alive where anybody of the entrance passed it.
            same = [
                v
                for v, (other, _, _) in enumerate(homes)
                if city.entrance(other.index) == city.entrance(home.index)
                and city.estate(other.index) == city.estate(home.index)
            ]
            if same[0] == u:
                alive[same] = alive[same].any(axis=0)
    doors = np.argwhere(alive)
    # What a terminal saw of strangers is no unit's.
    table = table[table[:, 2] >= 0]
    key, where = np.unique(table[:, [0, 1, 3]], axis=0, return_inverse=True)
    out = {
        name: np.zeros(len(key), dtype=np.int64) for name in ("entries", "exits", "night", "lent")
    }
    who = np.full(len(key), 9, dtype=np.int64)
    np.minimum.at(who, where, table[:, 2])
    for name, column in (("entries", 4), ("exits", 5)):
        np.add.at(out[name], where, table[:, column])
    np.maximum.at(out["night"], where, table[:, 6])
    return People(unit=key[:, 0], day=key[:, 1], token=key[:, 2], who=who, **out), doors


def _cars(city: WorldCity, homes: list[tuple[StoryHome, Household, Metered]]) -> NDArray[np.int64]:
    """Add up what gates saw of registered vehicles by unit and day, as the store's query does; strangers' cars pass on every day."""
    rows = [np.empty((0, 4), dtype=np.int64)]
    for u, (home, _, _) in enumerate(homes):
        if home.car is None:
            continue
        held = [(a, b) for household, a, b in home.tenancies if household == home.car.household]
        # What a gate saw while its gateway's line was dead is sent later, as doors' passages are.
        days = np.flatnonzero(_held(held, city.days))
        hours = home.car.hours[days]
        seen = ~np.isnan(hours).all(axis=1)
        rows.append(
            np.stack([np.full(len(days), u), days, seen, seen & _night(hours)], axis=1).astype(
                np.int64
            )
        )
    return np.concatenate(rows)


def _held(spans: list[tuple[int, int | None]], days: int) -> NDArray[np.bool_]:
    """Return the days that lie in one of some spans of days, ends included; an open end is None."""
    out = np.zeros(days, dtype=bool)
    for a, b in spans:
        out[max(0, a) : None if b is None else max(0, b + 1)] = True
    return out


def _night(hours: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell of rows of hours (out, in, out, in) whether the day begins with leaving before ten or ends with coming after six."""
    some = np.where(np.isnan(hours).all(axis=1, keepdims=True), 0.0, hours)
    first, last, at = np.nanargmin(some, axis=1), np.nanargmax(some, axis=1), np.arange(len(some))
    return np.asarray(
        ((first % 2 == 0) & (some[at, first] < 10)) | ((last % 2 == 1) & (some[at, last] >= 18))
    )


def _token_rows(
    city: WorldCity, u: int, home: StoryHome, household: Household
) -> Iterator[NDArray[np.int64]]:
    fitting = city.fitting(home.index)
    if not fitting.lock and not fitting.terminal:
        return
    registered = {p.token: p for p in home.people if p.known_from is not None and not p.caller}
    for passage in household.passages:
        hours = passage.hours
        days = np.flatnonzero(~np.isnan(hours).all(axis=1))
        if not len(days):
            continue
        person = passage.person
        token = person.card or person.token
        seen = hours[days]
        entries = (~np.isnan(seen[:, [1, 3]])).sum(axis=1)
        exits = (~np.isnan(seen[:, [0, 2]])).sum(axis=1)
        night = _night(seen)
        who = _who(registered.get(token), days)
        if not fitting.lock:
            who = np.where((who == PersonKind.STRANGER) | (token is None), -1, who)
        number = 0 if token is None else (crc32(token.encode()) << 8)
        yield np.stack(
            [
                np.full(len(days), u),
                days,
                who,
                np.full(len(days), number),
                entries,
                exits,
                night,
                np.zeros(len(days)),
            ],
            axis=1,
        ).astype(np.int64)


def _who(person: Any, days: NDArray[np.int64]) -> NDArray[np.int64]:
    if person is None:
        return np.full(len(days), PersonKind.STRANGER, dtype=np.int64)
    kind = PersonKind.GUEST if person.role in ("guest", "carer") else PersonKind.RESIDENT
    who = np.where(days >= person.known_from, kind, PersonKind.STRANGER)
    if person.known_to is not None:
        who = np.where(days > person.known_to, PersonKind.FORMER, who)
    return who.astype(np.int64)


def _register(city: WorldCity, homes: list[tuple[StoryHome, Household, Metered]]) -> Homes:
    rows = register_rows(city, [(home, seen) for home, _, seen in homes])
    unit_of = {
        (city.estate(h.index), city.unit(h.index)): i + 1 for i, (h, _, _) in enumerate(homes)
    }

    def day(text: str) -> date | None:
        return date.fromisoformat(text) if text else None

    def since(text: str) -> date:
        return date.fromisoformat(text)

    def instant(text: str) -> datetime | None:
        return (
            datetime.combine(date.fromisoformat(text), datetime.min.time(), ZONE) if text else None
        )

    holds = {row["household"]: row for row in rows["tenancies"]}
    kinds = {row["code"]: row["kind"] for row in rows["devices"]}
    family = {"water_meter": "water", "electricity_meter": "energy"}
    entrances: dict[tuple[str, str], list[int]] = {}
    for row in rows["units"]:
        entrances.setdefault((row["estate"], row["entrance"]), []).append(
            unit_of[row["estate"], row["code"]]
        )
    devices = []
    for row in rows["mounts"]:
        if kinds[row["device"]] == "gate":
            continue
        units = (
            [unit_of[row["estate"], row["unit"]]]
            if row["unit"]
            else entrances[row["estate"], row["entrance"]]
        )
        name = family.get(kinds[row["device"]], "lock" if row["unit"] else "door")
        low = datetime.combine(since(row["valid_from"]), datetime.min.time(), ZONE)
        devices += [(unit, name, low, instant(row["valid_to"])) for unit in units]

    def who(row: dict[str, str]) -> int:
        return unit_of[row["estate"], row["unit"]]

    return Homes(
        tenancies=[(who(r), since(r["valid_from"]), day(r["valid_to"])) for r in rows["tenancies"]],
        declarations=[
            (who(r), r["kind"], since(r["valid_from"]), day(r["valid_to"]))
            for r in rows["declarations"]
        ],
        residents=[
            (
                who(holds[r["household"]]),
                since(r["valid_from"]),
                day(r["valid_to"]) or day(holds[r["household"]]["valid_to"]),
            )
            for r in rows["residents"]
        ],
        devices=devices,
        told=[(who(r), "tip_off", r["kind"], since(r["received_on"])) for r in rows["tip_offs"]],
    )


def last_day(city: WorldCity) -> date:
    """Return a city's last day."""
    return city.first + timedelta(days=city.days - 1)
