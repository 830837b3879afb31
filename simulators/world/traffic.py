"""The city as an estate would submit it: register files, and messages as a recording's lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from domain.calendar import DAY_MS, HOUR_MS
from simulators.world.cars import drive, visitors
from simulators.world.city import ZONE, WorldCity
from simulators.world.meters import Metered, MeterSeries, metered, profile_of, use
from simulators.world.people import Household, Person
from simulators.world.stories import StoryHome

Rows = list[dict[str, str]]
_LONG_AGO = 500
_SHEETS = (
    "estates",
    "buildings",
    "entrances",
    "units",
    "households",
    "tenancies",
    "residents",
    "gateways",
    "devices",
    "mounts",
    "declarations",
    "tip_offs",
    "vehicles",
)


def made(city: WorldCity, index: int) -> tuple[StoryHome, Household, Metered]:
    """Make one home with its life and what its devices saw."""
    home = city.home(index)
    household = city.lived(home)
    home.car = drive(city, home, household)
    litres, kwh = use(city, home, household)
    return home, household, metered(city, home, litres, kwh)


def truth_of(city: WorldCity, home: StoryHome, seen: Metered) -> list[dict[str, Any]]:
    """Return what is true of a home, one row a truth.

    A row holds its kind, first and last day, detail, and the fitting of the building.
    """
    fitting = city.fitting(home.index).name
    rows = [(t.kind, t.start, t.end, t.detail) for t in home.truths] + [
        (k, a, b, "") for k, a, b in seen.faults
    ]
    return [
        {
            "estate": city.estate(home.index),
            "unit": city.unit(home.index),
            "kind": kind,
            "detail": detail,
            "fitting": fitting,
            "start_day": _iso(city, a),
            "end_day": _iso(city, b - 1),
            "lasts": b >= city.days,
        }
        for kind, a, b, detail in rows
    ]


def register_rows(city: WorldCity, homes: list[tuple[StoryHome, Metered]]) -> dict[str, Rows]:
    """Make the rows of every register file for some homes."""
    sheets: dict[str, Rows] = {name: [] for name in _SHEETS}
    places: dict[str, set[tuple[str, ...]]] = {
        "estates": set(),
        "buildings": set(),
        "entrances": set(),
    }
    for home, seen in homes:
        i = home.index
        estate = city.estate(i)
        building = city.building(i)
        entrance = city.entrance(i)
        if (estate,) not in places["estates"]:
            places["estates"].add((estate,))
            sheets["estates"].append({"code": estate, "name": estate, "timezone": ZONE.key})
        if (estate, building) not in places["buildings"]:
            places["buildings"].add((estate, building))
            sheets["buildings"].append({"estate": estate, "code": building, "name": building})
            sheets["gateways"].append({"estate": estate, "code": f"gw-{building}"})
            if city.gated(i):
                gate = _Device(code=f"gate-{building}", kind="gate", profile="camera")
                _add_device(city, sheets, i, gate, building=building)
        if (estate, entrance) not in places["entrances"]:
            places["entrances"].add((estate, entrance))
            sheets["entrances"].append({"estate": estate, "building": building, "code": entrance})
            if city.fitting(i).terminal:
                terminal = _Device(code=f"door-{entrance}", kind="door", profile="door-terminal")
                _add_device(city, sheets, i, terminal, entrance=entrance)
        sheets["units"].append({"estate": estate, "entrance": entrance, "code": city.unit(i)})
        _papers(city, sheets, home)
        _fit(city, sheets, home, seen)
    return sheets


def _papers(city: WorldCity, sheets: dict[str, Rows], home: StoryHome) -> None:
    estate = city.estate(home.index)
    unit = city.unit(home.index)
    known = [p for p in home.people if p.known_from is not None and not p.caller and p.token]
    for n, (household, start, end) in enumerate(home.tenancies):
        sheets["households"].append({"code": household})
        sheets["tenancies"].append(
            {
                "code": f"t-{home.index:06d}-{n}",
                "estate": estate,
                "unit": unit,
                "household": household,
                "valid_from": _iso(city, start),
                "valid_to": "" if end is None else _iso(city, end),
            }
        )
    for person in known:
        household = (
            home.household if str(person.token).startswith(("p-", "x-")) else f"{home.household}-b"
        )
        if any(t[0] == household for t in home.tenancies):
            sheets["residents"].append(
                {
                    "code": str(person.token),
                    "household": household,
                    "role": person.role,
                    "valid_from": _iso(city, person.known_from or 0),
                    "valid_to": "" if person.known_to is None else _iso(city, person.known_to),
                }
            )
    if home.car:
        sheets["vehicles"].append(
            {
                "code": home.car.token,
                "household": home.car.household,
                "valid_from": _iso(city, -_LONG_AGO),
                "valid_to": "",
            }
        )
    for n, (kind, start, end, _) in enumerate(home.declared):
        sheets["declarations"].append(
            {
                "code": f"d-{home.index:06d}-{n}",
                "estate": estate,
                "unit": unit,
                "kind": kind,
                "valid_from": _iso(city, start),
                "valid_to": "" if end is None else _iso(city, end),
                "note": "",
            }
        )
    for n, (day, kind) in enumerate(home.tips):
        sheets["tip_offs"].append(
            {
                "code": f"tip-{home.index:06d}-{n}",
                "estate": estate,
                "unit": unit,
                "received_on": _iso(city, day),
                "kind": kind,
                "note": "",
            }
        )


def _fit(city: WorldCity, sheets: dict[str, Rows], home: StoryHome, seen: Metered) -> None:
    fitting = city.fitting(home.index)
    unit = city.unit(home.index)
    if fitting.lock:
        lock = _Device(code=f"lock-{unit}", kind="door", profile="door-terminal")
        _add_device(city, sheets, home.index, lock, unit=unit)
    for series in seen.series:
        changed = seen.changed.get(series.supply)
        kind = "water_meter" if series.supply == "water" else "electricity_meter"
        meter = _Device(
            code=meter_code(unit, series.supply, series.number),
            kind=kind,
            profile=profile_of(fitting, series.supply),
            since=None if series.number == 0 else changed,
            until=changed if series.number == 0 else None,
        )
        _add_device(city, sheets, home.index, meter, unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    """A device and the days on which it is mounted; None is long before and open."""

    code: str
    kind: str
    profile: str
    since: int | None = None
    until: int | None = None


def _add_device(
    city: WorldCity, sheets: dict[str, Rows], index: int, device: _Device, **location: str
) -> None:
    """Register a device and mount it; `location` gives its `unit`, `entrance` or `building`."""
    estate = city.estate(index)
    sheets["devices"].append(
        {
            "estate": estate,
            "gateway": f"gw-{city.building(index)}",
            "code": device.code,
            "kind": device.kind,
            "profile": device.profile,
        }
    )
    since = -_LONG_AGO if device.since is None else device.since
    mount = {
        "code": f"m-{estate}-{device.code}",
        "estate": estate,
        "device": device.code,
        "unit": "",
        "entrance": "",
        "building": "",
        "valid_from": _iso(city, since),
        "valid_to": "" if device.until is None else _iso(city, device.until),
    }
    sheets["mounts"].append(mount | location)


def meter_code(unit: str, supply: str, number: int) -> str:
    """Name a meter."""
    return f"{'wm' if supply == 'water' else 'em'}-{unit}{'-b' if number else ''}"


def _iso(city: WorldCity, day: int) -> str:
    return (city.first + timedelta(days=day)).isoformat()


# Messages -----------------------------------------------------------------------------------------


def lines(
    city: WorldCity, homes: list[tuple[StoryHome, Household, Metered]]
) -> Iterator[dict[str, Any]]:
    """Give the messages of some homes of one building, day by day, as a recording's lines.

    A gateway sends what a day held soon after midnight, doors in the evening too; after an outage
    it sends the doors' backlog late.
    """
    if not homes:
        return
    index = homes[0][0].index
    fitting = city.fitting(index)
    dead = city.outage(index)
    start = datetime.combine(city.first, datetime.min.time(), ZONE)
    base = int(start.timestamp() * 1000)
    root = f"anju/v1/{city.estate(index)}/gw-{city.building(index)}/up"
    seq = {"readings": 0, "events": 0}
    backlog: list[dict[str, Any]] = []
    by_day = [[_of_day(series, city.days) for series in seen.series] for _, _, seen in homes]
    doors = [_passages(city, home, household, fitting.lock) for home, household, _ in homes]
    gates = _gate(city, index, [home for home, _, _ in homes])
    locks = (
        [(f"lock-{city.unit(home.index)}", city.powered(home.index)) for home, _, _ in homes]
        if fitting.lock
        else []
    )
    for day in range(city.days):
        sent_at = base + (day + 1) * DAY_MS + 4_500_000
        items: list[dict[str, Any]] = []
        for (home, _, seen), starts in zip(homes, by_day, strict=True):
            for series, bounds in zip(seen.series, starts, strict=True):
                code = meter_code(city.unit(home.index), series.supply, series.number)
                items += _meter_items(code, series, base, range(*bounds[day : day + 2]))
        # A lock without mains sends its battery level once a day.
        noon = base + day * DAY_MS + 43_200_000
        battery = {"battery_pct": float(90 - 60 * day // city.days)}
        items += [
            {"device": lock, "at": noon, "values": battery}
            for lock, powered in locks
            if powered[day] and not dead[day]
        ]
        for i in range(0, len(items), 900):
            seq["readings"] += 1
            yield _line(root, "readings", seq["readings"], sent_at, items[i : i + 900])
        events = (
            backlog + [item for found in doors for item in found.get(day, [])] + gates.get(day, [])
        )
        backlog = events if dead[day] else []
        if events and not dead[day]:
            for i in range(0, len(events), 400):
                seq["events"] += 1
                yield _line(root, "events", seq["events"], sent_at, events[i : i + 400])


def _meter_items(
    code: str, series: MeterSeries, base: int, places: range
) -> Iterator[dict[str, Any]]:
    """Yield the readings of a meter at some places of its series; `base` is day 0 in ms UTC."""
    point = f"{series.supply}_{'m3' if series.supply == 'water' else 'kwh'}"
    for place in places:
        at = base + int(series.minute[place]) * 60_000
        yield {"device": code, "at": at, "values": {point: float(series.value[place])}}


def _line(
    root: str, kind: str, seq: int, sent_at: int, items: list[dict[str, Any]]
) -> dict[str, Any]:
    payload = {
        "v": 1,
        "boot": "w1",
        "seq": seq,
        "sent_at": sent_at,
        "replayed": True,
        "items": items,
    }
    return {"topic": f"{root}/{kind}", "payload": payload}


def _of_day(series: Any, days: int) -> list[int]:
    """Return where each day's readings begin; what is read at midnight is the day before's."""
    found = np.searchsorted(series.minute, np.arange(days + 1) * 1440 + 1)
    found[-1] = len(series.minute)
    return [int(n) for n in found]


def _passages(
    city: WorldCity, home: StoryHome, household: Household, lock: bool
) -> dict[int, list[dict[str, Any]]]:
    base = int(datetime.combine(city.first, datetime.min.time(), ZONE).timestamp() * 1000)
    unit = city.unit(home.index)
    device = f"lock-{unit}" if lock else f"door-{city.entrance(home.index)}"
    found: dict[int, list[dict[str, Any]]] = {}
    if not city.fitting(home.index).lock and not city.fitting(home.index).terminal:
        return found
    for n, passage in enumerate(household.passages):
        person = passage.person
        token = person.card or person.token
        for day, column in zip(*np.nonzero(~np.isnan(passage.hours)), strict=True):
            data = {
                "method": _method(person),
                "outcome": "granted",
                "direction": "out" if column in (0, 2) else "in",
            }
            if token:
                data["person"] = token
            found.setdefault(int(day), []).append(
                {
                    "device": device,
                    "at": base + int(day) * DAY_MS + int(passage.hours[day, column] * HOUR_MS),
                    "id": f"{unit}-{day}-{n}-{column}",
                    "kind": "passage",
                    "data": data,
                }
            )
    return found


def _method(person: Person) -> str:
    """Return how a person opens the door."""
    if person.card:
        return "card"
    return "face" if person.token else "code"


def _gate(city: WorldCity, index: int, homes: list[StoryHome]) -> dict[int, list[dict[str, Any]]]:
    """Give what the camera at the yard's gate of one building sends, by day."""
    found: dict[int, list[dict[str, Any]]] = {}
    if not city.gated(index):
        return found
    base = int(datetime.combine(city.first, datetime.min.time(), ZONE).timestamp() * 1000)
    device = f"gate-{city.building(index)}"

    def passes(day: int, plate: str, hour: float, direction: str) -> None:
        found.setdefault(day, []).append(
            {
                "device": device,
                "at": base + day * DAY_MS + int(hour * HOUR_MS),
                "id": f"{plate}-{day}-{hour:.4f}",
                "kind": "plate",
                "data": {"plate": plate, "direction": direction},
            }
        )

    for day, count in enumerate(visitors(city, index).tolist()):
        for n in range(count):
            passes(day, f"n-v{day:03d}-{n}", 9.0 + n * 0.3, "in")
    for car in [home.car for home in homes if home.car]:
        for day, column in zip(*np.nonzero(~np.isnan(car.hours)), strict=True):
            passes(
                int(day),
                car.token,
                float(car.hours[day, column]),
                "out" if column in (0, 2) else "in",
            )
    return found


def as_text(line: dict[str, Any]) -> bytes:
    """Write a line."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def write_register(
    city: WorldCity, homes: list[tuple[StoryHome, Metered]], directory: Path
) -> None:
    """Write the register's CSV files."""
    for name, rows in register_rows(city, homes).items():
        if rows:
            with (directory / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
