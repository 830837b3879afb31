"""Frames from real devices, beside the repository: each decodes to what is known of it, or is
refused for its checksum.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from datetime import datetime
from pathlib import Path

import pytest

from devices.explain import CODECS
from devices.protocols import cjt188, dlt645, gb26875, mbus, mbus_records
from devices.pushes import PUSHES
from domain.rejection import Reason, Rejected
from tests.conftest import DATA

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason="the real frames are not beside the repository"),
]
CHINA, MBUS = DATA / "frames_china", DATA / "frames_mbus"


def test_chinese_frames() -> None:
    rows = [json.loads(line) for line in (CHINA / "frames.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 9
    for row in rows:
        found = CODECS[row["protocol"]].decode(bytes.fromhex(row["hex"]))
        if row["checksum_ok"]:
            assert not isinstance(found, Rejected), row
            assert CODECS[row["protocol"]].encode(found).hex() == row["hex"]
        else:
            assert isinstance(found, Rejected) and found.reason is Reason.BAD_CHECKSUM, row


def of(protocol: str, start: str) -> bytes:
    rows = [json.loads(line) for line in (CHINA / "frames.jsonl").read_text("utf-8").splitlines()]
    return bytes.fromhex(
        next(
            row["hex"]
            for row in rows
            if row["protocol"] == protocol and row["hex"].startswith(start)
        )
    )


@pytest.mark.parametrize(
    ("start", "identifier", "value"),
    [
        ("6814", "00010000", 0.06),
        ("6811110000000068810", "B613", 220.0),
        ("68111100000000689106", "02010300", 220.0),
    ],
)
def test_chinese_meters_say(start: str, identifier: str, value: float) -> None:
    frame = dlt645.CODEC.decode(of("dlt645", start))
    assert isinstance(frame, dlt645.Dlt645Frame) and frame.identifier == identifier
    data = dlt645.reply_data(frame)
    assert isinstance(data, bytes) and dlt645.decode_values(identifier, data) == [value]


def test_chinese_water_meters_use_the_order_of_2004() -> None:
    read, address = (
        cjt188.CODEC.decode(of("cjt188", start))
        for start in ("68101200000000000001", "68101200000000000083")
    )
    assert isinstance(read, cjt188.Cjt188Frame) and (read.identifier, read.edition) == (
        "901F",
        2004,
    )
    assert isinstance(address, cjt188.Cjt188Frame) and (address.identifier, address.address) == (
        "810A",
        "00000000000012",
    )


def test_a_fire_host_says_where_it_burns() -> None:
    frame = gb26875.CODEC.decode(of("gb26875", "404000000101180d11160a140000000000000605"))
    assert isinstance(frame, gb26875.Gb26875Frame) and frame.at == datetime(
        2020, 10, 22, 17, 13, 24
    )
    unit = gb26875.decode_unit(frame.unit)
    assert isinstance(unit, gb26875.Gb26875Unit)
    (part,) = unit.objects
    assert isinstance(part, gb26875.PartState)
    assert gb26875.bit_names(part.state, gb26875.STATE_BITS) == {"fire"}
    assert "走廊" in part.text and "�" not in part.text
    other = gb26875.CODEC.decode(of("gb26875", "4040010000010500"))
    assert (
        isinstance(other, gb26875.Gb26875Frame)
        and other.command == gb26875.REQUEST
        and other.unit[0] == gb26875.INITIALISE
    )


def test_pushed_events() -> None:
    def token(kind: str, value: str) -> str:
        return f"<{kind} {value}>"

    rows = [
        json.loads(line)["event"]
        for line in (CHINA / "hikvision_access_events.jsonl").read_text("utf-8").splitlines()
    ]
    for row, number in zip(rows, ("1199", "123"), strict=True):
        (heard,) = PUSHES["hikvision"].parse("application/json", json.dumps(row).encode(), token)  # type: ignore[misc]
        assert (
            heard.kind == "passage"
            and heard.data["method"] == "face"
            and heard.data["outcome"] == "granted"
        )
        assert f"s-{number}-" in heard.id
        assert "PERSON" not in repr(heard)
    (alarm,) = PUSHES["gb28181"].parse(
        "application/xml", (CHINA / "gb28181_alarm_notify.xml").read_bytes(), token
    )  # type: ignore[misc]
    assert (alarm.native, alarm.at) == ("64010000001340000001", datetime(2009, 12, 4, 16, 23, 32))  # type: ignore[union-attr]


# M-Bus: the decoding that comes with the frames
# ----------------------------------------------------------------------

#: Where that decoding prints a number although the meter shows none (digits A to F in an error
#: state, a time marked invalid, a date of zeroes), ours has none: (frame, record).
NO_NUMBER = {
    ("ELS_Elster-F96-Plus", "4"),
    ("ELS_Elster-F96-Plus", "5"),
    ("REL-Relay-Padpuls2", "1"),
    ("abb_f95", "2"),
    ("abb_f95", "3"),
    ("siemens_water", "3"),
    ("siemens_wfh21", "3"),
}
#: The fixed structure is printed in the meter's own units.
FIXED = {"kWh": 1000.0, "l": 0.001}


@pytest.mark.parametrize(
    "path", sorted(MBUS.glob("*.hex")) if MBUS.exists() else [], ids=lambda p: p.stem
)
def test_mbus(path: Path) -> None:
    frame = mbus.CODEC.decode(bytes.fromhex("".join(path.read_text("ascii").split())))
    assert isinstance(frame, mbus.MbusFrame)
    telegram = mbus.decode_telegram(frame)
    assert isinstance(telegram, mbus.MbusTelegram), telegram
    known = ElementTree.fromstring(path.with_name(path.stem + ".norm.xml").read_bytes())
    assert telegram.identity.lstrip("0") == str(known.findtext("SlaveInformation/Id")).lstrip("0")
    maker = known.findtext("SlaveInformation/Manufacturer")
    assert maker is None or maker == telegram.maker
    assert telegram.access == int(str(known.findtext("SlaveInformation/AccessNumber")))
    rows = [
        row
        for row in known.findall("DataRecord")
        if row.findtext("Function") not in ("Manufacturer specific", "More records follow")
    ]
    assert telegram.more_follow == any(
        row.findtext("Function") == "More records follow" for row in known.findall("DataRecord")
    )
    assert len(rows) == len(telegram.records)
    for row, record in zip(rows, telegram.records, strict=True):
        compare(path.stem, row, record)


def compare(name: str, row: ElementTree.Element, record: mbus_records.MbusRecord) -> None:
    where = (name, str(row.attrib["id"]))
    text, uom = row.findtext("Value"), row.findtext("Unit") or ""
    if row.find("StorageNumber") is not None:
        assert record.storage == int(str(row.findtext("StorageNumber"))), where
        assert record.tariff == int(row.findtext("Tariff") or 0) and record.subunit == int(
            row.findtext("Device") or 0
        ), where
        function = {
            "Instantaneous value": "instantaneous",
            "Maximum value": "maximum",
            "Minimum value": "minimum",
        }
        assert record.function == function.get(str(row.findtext("Function")), "error"), where
    content = record.content
    if where in NO_NUMBER or text is None:
        assert content is None, where
    elif isinstance(content, datetime):
        assert content.strftime("%Y-%m-%dT%H:%M:%SZ").startswith(text), where
    elif isinstance(content, float):
        assert content == pytest.approx(
            float(text) * (FIXED.get(uom, 1.0) if row.find("Quantity") is None else 1.0),
            rel=1e-5,
            abs=1e-6,
        ), where
    else:
        assert content is not None, where
        same = text.replace(" ", "") == content.replace(" ", "")
        assert same or int(float(text)) == int(content), where
