"""The configuration: every fault is one line that names where and how to mend it.

A good one is read whole.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import DevicePlace, load_config, parse_config
from gateway.config_tables import BadConfig
from gateway.tables import Table

GOOD = """
estate = "heyuan"
gateway = "gw-01"
token_key_file = "key"
[[bus]]
name = "riser-1"
at = "10.0.0.5:4001"
devices = [
  { device = "em-0101", profile = "dlt645-2007", address = "101" },
  { device = "em-0102", profile = "dlt645-energy", address = "102", every_s = 900 },
]
[[fire]]
port = 26875
devices = [
  { device = "fire-1", source = "0000000000a1", parts = [
    { device = "smoke-1", part = "0000000a" },
  ] },
]
[push]
port = 8900
[[push.sources]]
name = "doors"
kind = "hikvision"
token_file = "token"
[[push.sources.devices]]
device = "door-1"
profile = "door-terminal"
address = "02:00:00:00:00:0A"
readers = { 1 = "in", 2 = "out" }
[[mqtt]]
name = "lora"
kind = "chirpstack"
host = "127.0.0.1"
topic = "application/+/device/+/event/up"
devices = [{ device = "wm-9", profile = "lora-water", address = "0101010101010101" }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("a key of sixteen bytes")
    (tmp_path / "token").write_text("a-token-of-sixteen-characters")
    return tmp_path


def test_a_good_one(folder: Path) -> None:
    config = parse_config(GOOD, folder, "gateway.toml")
    assert list(config.devices()) == ["em-0101", "em-0102", "fire-1", "smoke-1", "door-1", "wm-9"]
    assert config.devices()["em-0101"] == DevicePlace(
        profile="dlt645-2007", place="bus riser-1 at 10.0.0.5:4001, address 101"
    )
    assert config.tokens_of == {"doors": "a-token-of-sixteen-characters"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('estate = "heyuan"', 'estate = "He Yuan"', "estate 'He Yuan': 2 to 40 lower-case"),
        ('estate = "heyuan"', 'estat = "heyuan"', "did you mean estate"),
        ('at = "10.0.0.5:4001"', 'at = "10.0.0.5"', "write host:port"),
        ('profile = "dlt645-2007"', 'profile = "dlt645-207"', "did you mean dlt645-2007"),
        (
            'profile = "dlt645-2007"',
            'profile = "mbus-water"',
            "up to|one line speaks one protocol|address",
        ),
        ('profile = "dlt645-2007"', 'profile = "water-dn15"', "is not polled"),
        ('device = "em-0102"', 'device = "em-0101"', "stands at bus 'riser-1' already"),
        ('address = "102"', 'address = "000000000101"', "address '000000000101' stands twice"),
        ('address = "102"', 'address = "1o2"', "up to twelve digits"),
        ("every_s = 900", "every_s = 0", "every_s lies between"),
        ("every_s = 900", 'every_s = "900"', "every_s"),
        ('source = "0000000000a1"', 'source = "a1"', "twelve hex digits"),
        ('part = "0000000a"', 'part = "smoke"', "eight hex digits"),
        ('kind = "hikvision"', 'kind = "hikvison"', "use one of access"),
        ('token_file = "token"', "", "token_file is needed"),
        ('token_file = "token"', 'token_file = "nowhere"', "no file 'nowhere'"),
        ('token_key_file = "key"', "", "token_key_file is needed where something is pushed"),
        ("port = 8900", "port = 89000", "between 1 and 65535"),
        ("[push]", "[push", "not TOML"),
    ],
)
def test_faults_name_where_and_the_fix(folder: Path, old: str, new: str, says: str) -> None:
    import re

    assert old in GOOD
    with pytest.raises(BadConfig) as caught:
        parse_config(GOOD.replace(old, new, 1), folder, "gateway.toml")
    assert re.search(says, str(caught.value)), str(caught.value)
    assert "gateway.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_time_zone_that_is_none(folder: Path) -> None:
    with pytest.raises(BadConfig, match="use a zone like Asia/Shanghai"):
        parse_config('timezone = "Mars/Olympus"\n' + GOOD, folder, "gateway.toml")


def test_a_site_adds_a_profile_without_python(folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "models" / "acme-9.toml").write_text(
        'title = "Acme 9"\nprotocol = "modbus-rtu"\nexpected_interval_s = 60\n'
        '[points.water_m3]\nitem = "holding:10:uint32:little"\nscale = 0.01\nresolution = '
        "0.01\nmax_rate = 3.125\n"
    )
    text = 'profiles = "models"\n' + GOOD.replace("dlt645-2007", "acme-9").replace(
        "dlt645-energy", "acme-9"
    )
    config = parse_config(text, folder, "gateway.toml")
    assert config.profiles["acme-9"].points["water_m3"].scale == 0.01
    (folder / "models" / "acme-9.toml").write_text(
        (folder / "models" / "acme-9.toml").read_text().replace("holding", "hold")
    )
    with pytest.raises(
        BadConfig, match="profile 'acme-9': item 'hold:10:uint32:little': write table:address"
    ):
        parse_config(text, folder, "gateway.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be read"):
        load_config(tmp_path / "none.toml")


def test_a_table_takes_nothing_it_does_not_know() -> None:
    assert (
        all(table.__struct_config__.forbid_unknown_fields for table in Table.__subclasses__())
        and len(Table.__subclasses__()) > 10
    )
