"""The city's register as CSV files, and the truth, kept apart from them."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from domain.calendar import DEFAULT_ZONE
from simulators.city import ESTATE, City, Story
from simulators.stream import door, energy_meter, lane_camera, smoke_detector, water_meter

Rows = list[dict[str, str]]


def register_rows(city: City) -> dict[str, Rows]:
    """Make the rows of every register file."""
    long_ago = (city.anchor - timedelta(days=400)).isoformat()
    sheets: dict[str, Rows] = {
        "jurisdictions": [
            {"code": "shi", "name": "示范市", "level": "city", "parent": ""},
            {"code": "qu-1", "name": "青山区", "level": "district", "parent": "shi"},
            {"code": "jie-1", "name": "和平街道", "level": "street", "parent": "qu-1"},
            {"code": "she-1", "name": "青年社区", "level": "community", "parent": "jie-1"},
        ],
        "estates": [
            {
                "code": ESTATE,
                "name": "青年家园",
                "jurisdiction": "she-1",
                "programme": "public_rental",
                "timezone": DEFAULT_ZONE,
            }
        ],
        "buildings": [{"estate": ESTATE, "code": b, "name": f"{int(b)}栋"} for b in city.buildings],
        "entrances": [{"estate": ESTATE, "building": b, "code": e} for b, e in city.entrances],
        "gateways": [{"estate": ESTATE, "code": f"gw-{b}"} for b in city.buildings],
    }
    for name in (
        "units",
        "households",
        "tenancies",
        "residents",
        "devices",
        "mounts",
        "declarations",
    ):
        sheets[name] = []
    for home in city.homes:
        _add_home(sheets, home, long_ago)
    for building, entrance in city.entrances:
        for code, kind, profile in (
            (door(entrance), "door", "door-terminal"),
            (smoke_detector(entrance), "detector", "smoke-detector"),
        ):
            _add_device(sheets, f"gw-{building}", code, kind, profile)
            _add_mount(
                sheets,
                code,
                long_ago,
                entrance=entrance,
                place=f"{int(building)}栋{entrance[-1]}单元",
            )
    for building in city.buildings:
        _add_device(sheets, f"gw-{building}", lane_camera(building), "camera", "camera")
        _add_mount(
            sheets,
            lane_camera(building),
            long_ago,
            building=building,
            place=f"{int(building)}栋消防通道",
        )
    return sheets


def _add_home(sheets: dict[str, Rows], home: Any, long_ago: str) -> None:
    sheets["units"].append(
        {
            "estate": ESTATE,
            "entrance": home.entrance,
            "code": home.unit,
            "floor": str(home.floor),
            "area_m2": str(home.area_m2),
        }
    )
    if home.story is not Story.UNLET:
        sheets["households"].append({"code": home.household, "members": str(home.people)})
        sheets["tenancies"].append(
            {
                "code": f"t-{home.index:05d}",
                "estate": ESTATE,
                "unit": home.unit,
                "household": home.household,
                "valid_from": long_ago,
                "valid_to": "",
            }
        )
        for person in range(home.people):
            sheets["residents"].append(
                {
                    "code": home.resident(person),
                    "household": home.household,
                    "role": "member" if person else "tenant",
                    "valid_from": long_ago,
                    "valid_to": "",
                }
            )
    if home.story is Story.DECLARED_AWAY:
        sheets["declarations"].append(
            {
                "code": f"d-{home.index:05d}",
                "estate": ESTATE,
                "unit": home.unit,
                "kind": "absence",
                "valid_from": _iso(home.from_day),
                "valid_to": "",
                "note": "外出务工",
            }
        )
    water = water_meter(home)
    energy = energy_meter(home)
    for code, kind, profile in (
        (water, "water_meter", "water-dn15"),
        (energy, "electricity_meter", "electricity-1p-60a"),
    ):
        _add_device(sheets, home.gateway, code, kind, profile)
        _add_mount(sheets, code, long_ago, unit=home.unit)
    if home.story is Story.METER_SWAPPED:
        sheets["mounts"][-2]["valid_to"] = _iso(home.from_day)
        _add_device(sheets, home.gateway, water + "b", "water_meter", "water-dn15")
        _add_mount(sheets, water + "b", _iso(home.from_day), unit=home.unit)


def _add_device(sheets: dict[str, Rows], gateway: str, code: str, kind: str, profile: str) -> None:
    sheets["devices"].append(
        {"estate": ESTATE, "gateway": gateway, "code": code, "kind": kind, "profile": profile}
    )


def _add_mount(
    sheets: dict[str, Rows],
    device: str,
    since: str,
    **location: str,
) -> None:
    """Mount a device; `location` gives its `unit`, `entrance`, `building` or `place`."""
    mount = {
        "code": f"m-{device}",
        "estate": ESTATE,
        "device": device,
        "unit": "",
        "entrance": "",
        "building": "",
        "place": "",
        "valid_from": since,
        "valid_to": "",
    }
    sheets["mounts"].append(mount | location)


def _iso(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def truth_rows(city: City) -> list[dict[str, Any]]:
    """Return what is true of every home."""
    return [
        {
            "unit": home.unit,
            "story": str(home.story),
            "from_day": _iso(home.from_day),
            "to_day": _iso(home.to_day),
            "people": home.people,
        }
        for home in city.homes
    ]


def write_city(city: City, directory: Path) -> None:
    """Write the register's files into `directory`, and the truth beside it.

    No import takes the file of the truth.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in register_rows(city).items():
        if not rows:
            continue
        with (directory / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    truth = directory.parent / f"{directory.name}-truth.json"
    truth.write_text(
        json.dumps(
            {"seed": city.seed, "anchor": city.anchor.isoformat(), "homes": truth_rows(city)},
            ensure_ascii=False,
            indent=1,
        ),
        "utf-8",
    )
