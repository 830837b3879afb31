"""The simulated field: its register and its gateway's configuration name the same devices."""

from __future__ import annotations

import tomllib
from pathlib import Path

from anju.field import ESTATE, GATEWAY, Pace, configuration, make_field, register_rows
from domain.broker import BrokerAddress

NOW_MS = 1_772_000_000_000


def test_what_the_gateway_reads_is_registered(tmp_path: Path) -> None:
    pace = Pace(speed=60.0, start_ms=NOW_MS, real_ms=NOW_MS)
    field, ports = make_field(tmp_path, pace, meters=16, doors=2, lines=4, seed=1)
    text = configuration(field, ports, pace, BrokerAddress(port=1999), every_s=900)
    config = tomllib.loads(text)
    assert (config["estate"], config["gateway"]) == (ESTATE, GATEWAY)
    assert config["broker"]["port"] == 1999 and config["clock"]["speed"] == 60.0
    assert config["fire"][0]["port"] == ports["fire"] and config["push"]["port"] == ports["push"]
    configured = {device["device"] for bus in config["bus"] for device in bus["devices"]}
    for source in config["push"]["sources"]:
        configured |= {device["device"] for device in source["devices"]}
    for device in config["fire"][0]["devices"]:
        configured |= {device["device"], *(part["device"] for part in device["parts"])}
    registered = {device["code"] for device in register_rows(field)["devices"]}
    assert configured == registered
    assert {device["every_s"] for bus in config["bus"] for device in bus["devices"]} == {900}


def test_secrets_are_made_once(tmp_path: Path) -> None:
    pace = Pace(speed=1.0, start_ms=NOW_MS, real_ms=NOW_MS)
    make_field(tmp_path, pace, meters=4, doors=1, lines=1, seed=1)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    make_field(tmp_path, pace, meters=4, doors=1, lines=1, seed=2)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
    assert set(before) == {"token.key", "push.token", "door.password"}
