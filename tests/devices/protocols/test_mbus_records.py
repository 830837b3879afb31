"""Records of M-Bus telegrams: decoded as encoded; what breaks off is refused by name."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocols import mbus_records
from devices.protocols.mbus_units import decode_vif
from domain.rejection import Rejected

#: m³ in steps of a litre, degrees, watts.
VIFS = st.sampled_from([b"\x13", b"\x5a", b"\x2b", b"\x06"])


@settings(deadline=None)
@given(vif=VIFS, number=st.integers(0, 99_999_999), low_first=st.just(True))
def test_a_number_is_decoded_as_it_was_encoded(vif: bytes, number: int, low_first: bool) -> None:
    record = mbus_records.bcd_record(vif, number)
    decoded = mbus_records.decode_record(record.block + record.value, 0, low_first=low_first)
    assert decoded == record
    unit = decode_vif(vif, "")
    assert unit is not None
    assert record.content == mbus_records.scale_number(number, unit)


@settings(deadline=None)
@given(
    at=st.datetimes(datetime(2000, 1, 1), datetime(2080, 12, 31)),
)
def test_a_time_is_decoded_to_the_minute(at: datetime) -> None:
    record = mbus_records.time_record(at)
    decoded = mbus_records.decode_record(record.block + record.value, 0, low_first=True)
    assert decoded == record
    assert record.content == at.replace(second=0, microsecond=0)


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=40), low_first=st.booleans())
def test_any_bytes_are_a_record_or_a_rejection(data: bytes, low_first: bool) -> None:
    record = mbus_records.decode_record(data, 0, low_first=low_first)
    if isinstance(record, Rejected):
        assert "the record at byte 0" in record.detail
    else:
        assert data.startswith(record.block + record.value)
        assert record.content is None or record.content == record.content


@settings(deadline=None)
@given(number=st.integers(0, 99_999_999), cut=st.integers(1, 5))
def test_a_record_that_breaks_off_is_refused(number: int, cut: int) -> None:
    record = mbus_records.bcd_record(b"\x13", number)
    data = (record.block + record.value)[:-cut]
    assert isinstance(mbus_records.decode_record(data, 0, low_first=True), Rejected)
