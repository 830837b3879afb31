"""The rules of a configuration: each fault is refused with its place; what is right passes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.profiles import load_profiles
from gateway.config_rules import ConfigCheck
from gateway.config_tables import BadConfig, BusTable, ConfigTable, DeviceTable

PROFILES = load_profiles()


def check(*devices: DeviceTable, at: str = "10.0.0.5:4001") -> None:
    bus = BusTable(name="riser", at=at, devices=list(devices))
    table = ConfigTable(estate="es", gateway="gw", bus=[bus])
    ConfigCheck("gateway.toml", Path(), table, PROFILES).run()


def meter(device: str, address: str, profile: str = "dlt645-2007") -> DeviceTable:
    return DeviceTable(device=device, profile=profile, address=address)


def test_a_line_speaks_one_protocol_and_has_each_address_once() -> None:
    check(meter("m-1", "1"), meter("m-2", "2"))
    with pytest.raises(BadConfig, match="address '001' stands twice"):
        check(meter("m-1", "1"), meter("m-2", "001"))
    with pytest.raises(BadConfig, match="speaks one protocol, not cjt188, dlt645"):
        check(meter("m-1", "1"), meter("m-2", "2", "cjt188-water-dn15"))
    with pytest.raises(BadConfig, match="'nb-water' is not polled; one with a protocol of dlt645"):
        check(meter("m-1", "1", "nb-water"))


def test_an_interval_has_limits() -> None:
    with pytest.raises(BadConfig, match="every_s lies between 1 and"):
        check(msgspec.structs.replace(meter("m-1", "1"), every_s=0))


@settings(deadline=None)
@given(port=st.integers(-10, 100_000))
def test_a_port_lies_between_its_limits(port: int) -> None:
    try:
        check(meter("m-1", "1"), at=f"host:{port}")
    except BadConfig as error:
        assert not 1 <= port <= 65_535
        assert str(error).startswith("gateway.toml: bus 'riser': at")
    else:
        assert 1 <= port <= 65_535
