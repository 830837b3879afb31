"""What golden folders cannot say of the codecs: round trips of units inside frames, limits, the
peer's opinion.
"""

from __future__ import annotations

import random
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols import cjt188, dlt645, gb26875, mbus, mbus_records, modbus
from devices.protocols.framing import FrameStream, decode_bcd, encode_bcd
from devices.protocols.mbus_units import decode_vif
from domain.rejection import Reason, Rejected
from tests.devices.fuzzing import gb26875_unit


@given(st.integers(0, 99_999_999))
def test_bcd(value: int) -> None:
    assert decode_bcd(encode_bcd(value, 4)) == value


@given(
    value=st.integers(0, 99_999_999),
    identifier=st.sampled_from(["00010000", "00020000", "05060101"]),
)
def test_energy_values(value: int, identifier: str) -> None:
    assert dlt645.decode_values(identifier, dlt645.encode_values(identifier, value / 100)) == [
        value / 100
    ]


@given(st.integers(-799_999, 799_999))
def test_signed_values(value: int) -> None:
    assert dlt645.decode_values("02030000", dlt645.encode_values("02030000", value / 10_000)) == [
        value / 10_000
    ]


def test_a_value_that_does_not_fit_is_an_error_of_ours() -> None:
    for call in (
        lambda: dlt645.encode_values("00010000", -1.0),
        lambda: dlt645.encode_values("00010000", 1e9),
        lambda: dlt645.encode_values("DEADBEEF", 1.0),
        lambda: encode_bcd(100, 1),
    ):
        with pytest.raises(ValueError):
            call()


@given(st.integers(0, 2**32))
def test_application_units_of_fire_devices(seed: int) -> None:
    unit = gb26875_unit(random.Random(seed))
    assert gb26875.decode_unit(gb26875.encode_unit(unit)) == unit


def test_a_text_that_is_too_long_is_cut_between_characters() -> None:
    thing = gb26875.PartState(
        system_type=1,
        system=1,
        part_type=1,
        part="00000001",
        state=1,
        text="烟" * 40,
        stamp=bytes(6),
    )
    unit = gb26875.decode_unit(gb26875.encode_unit(gb26875.Gb26875Unit(kind=2, objects=(thing,))))
    assert isinstance(unit, gb26875.Gb26875Unit) and unit.objects[0].text == "烟" * 15  # type: ignore[union-attr]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))
def test_clocks(at: datetime) -> None:
    at = at.replace(microsecond=0)
    assert dlt645.decode_clock(dlt645.encode_date(at), dlt645.encode_time(at)) == at
    assert cjt188.decode_clock(cjt188.encode_clock(at)) == at
    assert gb26875.decode_time(gb26875.encode_time(at)) == at
    if at.year <= 2080:
        assert mbus_records.time_record(at).content == at.replace(second=0)


def test_a_good_frame_inside_a_broken_long_one_is_found_when_the_line_falls_silent() -> None:
    good = dlt645.CODEC.encode(dlt645.read_request("1".zfill(12), "00010000"))
    stream = FrameStream(dlt645.CODEC)
    # A start that claims 255 bytes and swallows what follows.
    assert stream.feed(b"\x68" + bytes(6) + b"\x68\x91\xff" + good) == []
    found = [f for f in stream.flush() if not isinstance(f, Rejected)]
    assert found == [dlt645.CODEC.decode(good)]


def test_two_frames_where_one_is_expected_are_refused() -> None:
    good = dlt645.CODEC.encode(dlt645.read_request("1".zfill(12), "00010000"))
    for data in (good + good, good + b"\x00"):
        found = dlt645.CODEC.decode(data)
        assert isinstance(found, Rejected) and found.reason is Reason.BAD_FRAME


def test_units_are_corrected_by_their_extensions() -> None:
    plain, corrected = decode_vif(b"\x13", ""), decode_vif(b"\x93\x73", "")
    assert plain is not None and corrected is not None
    assert (plain.power, corrected.power) == (-3, -6)


@pytest.mark.parametrize("kind", sorted(modbus.TYPES))
@pytest.mark.parametrize("order", ["big", "little"])
def test_register_types(kind: str, order: str) -> None:
    where = modbus.ModbusRegister(table="holding", address=3, type=kind, word_order=order)
    request = modbus.read_request(9, where)
    assert modbus.decode_value(modbus.read_reply(request, where, 12_345.0), where) == 12_345.0
    asked = modbus.decode_request(request)
    assert (asked.address, asked.count) == (3, where.count)


def test_a_float_that_is_none_is_no_value() -> None:
    where = modbus.ModbusRegister(table="holding", address=0, type="float32")
    request = modbus.read_request(9, where)
    nan = modbus.read_reply(
        request, modbus.ModbusRegister(table="holding", address=0, type="uint32"), float(0x7FC00000)
    )
    assert modbus.decode_value(nan, where) is None


def test_the_peer_reads_our_electricity_frames_and_we_read_its() -> None:
    peer = pytest.importorskip(
        "dlt645.protocol.protocol", reason="the peer library dlt645 is not installed"
    ).DLT645Protocol
    ours = dlt645.read_reply("202611210001", "00010000", dlt645.encode_values("00010000", 1234.56))
    theirs = peer.deserialize(dlt645.CODEC.encode(ours))
    assert bytes(theirs.data) in (ours.data, ours.data.translate(dlt645._SHIFT))
    built = bytes(
        peer.build_frame(bytes.fromhex("202611210001")[::-1], 0x11, bytes.fromhex("00010000")[::-1])
    )
    assert dlt645.CODEC.decode(built) == dlt645.read_request("202611210001", "00010000")


def test_a_demand_is_read_without_its_time() -> None:
    assert dlt645.decode_values(
        "01010000", bytes.fromhex("563412") + bytes.fromhex("1508211126")
    ) == [12.3456]
    assert dlt645.decode_values("01010000", dlt645.encode_values("01010000", 3.5)) == [3.5]


@pytest.mark.parametrize(
    ("vif", "quantity", "uom", "factor"),
    [
        (b"\xfd\x6d", "battery_time", "s", 86_400.0),
        (b"\xfd\x25", "storage_interval", "s", 60.0),
        (b"\xfd\x2e", "since_readout", "months", 1.0),
        (b"\xfb\x58", "flow_temperature", "°F", 1.0),
        (b"\xfd\x49", "voltage", "V", 1.0),
        (b"\x70", "averaging_duration", "s", 1.0),
    ],
)
def test_extension_tables(vif: bytes, quantity: str, uom: str, factor: float) -> None:
    unit = decode_vif(vif, "")
    assert unit is not None and (unit.quantity, unit.uom, unit.factor) == (quantity, uom, factor)


def test_an_error_that_a_meter_reports_is_named() -> None:
    frame = mbus.CODEC.decode(
        mbus.CODEC.encode(mbus.MbusFrame(control=8, address=5, information=0x70, data=b"\x03"))
    )
    assert isinstance(frame, mbus.MbusFrame)
    found = mbus.decode_telegram(frame)
    assert isinstance(found, Rejected) and "application error 3" in found.detail


def test_a_water_meter_that_sends_its_total_alone() -> None:
    request = cjt188.read_request(0x10, "1".zfill(14))
    found = cjt188.decode_measured(
        cjt188.reply(request, 0x10, "1".zfill(14), bytes.fromhex("452301002C"))
    )
    assert isinstance(found, cjt188.Cjt188Measured)
    assert (found.quantities, found.clock, found.status) == ({"total_m3": 123.45}, None, None)
