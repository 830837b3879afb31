"""A file of readings: local times in the repeated hour, intervals, faults named by line, the same
messages every time.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from domain.measures import Supply
from gateway.replay import BadFile, Layout, ReplayFile
from gateway.uplink import WINDOW

MADRID = ZoneInfo("Europe/Madrid")


def layout(**changes: object) -> Layout:
    values = {
        "supply": Supply.WATER,
        "device_column": "meter",
        "time_column": "time",
        "value_column": "litres",
        "uom": "l",
        "timezone": MADRID,
        **changes,
    }
    return Layout(**values)  # type: ignore[arg-type]


def read(
    tmp_path: Path, text: str, **changes: object
) -> tuple[ReplayFile, list[tuple[str, str, float]]]:
    path = tmp_path / "file.csv"
    path.write_text(text, "utf-8")
    file = ReplayFile(path=path, layout=layout(**changes))
    items = [item for message in file.messages() for item in message]
    return file, [
        (
            i.device,
            datetime.fromtimestamp(i.at / 1000, UTC).isoformat()[:16],
            next(iter(i.values.values())),
        )
        for i in items
    ]


def test_the_hour_that_summer_time_repeats_is_told_apart(tmp_path: Path) -> None:
    rows = ["01:30", "02:30", "02:30", "03:30"]
    text = "meter,time,litres\n" + "".join(
        f"A 1,2016-10-30 {t}:00,{1000 + i}\n" for i, t in enumerate(rows)
    )
    _, found = read(tmp_path, text)
    assert [(at, v) for _, at, v in found] == [
        ("2016-10-29T23:30", 1.0),
        ("2016-10-30T00:30", 1.001),
        ("2016-10-30T01:30", 1.002),
        ("2016-10-30T02:30", 1.003),
    ]
    assert found[0][0] == "a-1"


def test_an_hour_that_does_not_exist_is_named(tmp_path: Path) -> None:
    file, found = read(tmp_path, "meter,time,litres\nA1,2016-03-27 02:30:00,5\n")
    assert (
        found == []
        and file.faulty == 1
        and "does not exist in Europe/Madrid" in file.faults[0]
        and ":2:" in file.faults[0]
    )


def test_intervals_become_a_register_that_only_grows(tmp_path: Path) -> None:
    text = "meter,time,litres\n" + "".join(
        f"A1,2016-01-01 0{i}:00:00,{v}\n" for i, v in enumerate([0.5, 0, 1.5, "x", 2])
    )
    file, found = read(tmp_path, text, supply=Supply.ELECTRICITY, uom="kwh", interval=True)
    assert [v for _, _, v in found] == [0.5, 0.5, 2.0, 4.0] and file.faulty == 1


def test_the_same_file_gives_the_same_messages_and_another_layout_another_boot(
    tmp_path: Path,
) -> None:
    text = "meter,time,litres\nA1,2016-01-01 00:00:00,5\n"
    first, found = read(tmp_path, text)
    second, again = read(tmp_path, text)
    assert first.boot == second.boot and found == again
    other, _ = read(tmp_path, text, uom="m3")
    assert other.boot != first.boot


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("meter,when,litres\n", "no column 'time'.*--time-column"),
        ("", "no column 'meter'"),
        (
            "meter,time,litres\nA 1,2016-01-01 00:00:00,1\na-1,2016-01-01 00:00:00,1\n",
            "would both be device 'a-1'",
        ),
    ],
)
def test_a_bad_file_is_named_with_its_fix(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(BadFile, match=named):
        read(tmp_path, text)


def test_rows_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    text = (
        "meter,time,litres\nA1,2016-01-01 00:00:00,1\n,2016-01-01 "
        "01:00:00,1\nA1,yesterday,1\nA1,2016-01-01 02:00:00,nan\nA1,2016-01-01 "
        "03:00:00\nA1,2016-01-01 04:00:00,2\n"
    )
    file, found = read(tmp_path, text)
    assert len(found) == 2 and file.rows == 6 and file.faulty == 4
    assert [fault.split(":")[1] for fault in file.faults] == ["3", "4", "5", "6"]


def test_a_missing_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be opened"):
        list(ReplayFile(path=tmp_path / "none.csv", layout=layout()).messages())
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(
        gzip.compress(b"meter,time,litres\n" + b"A1,2016-01-01 00:00:00,1\n" * 9999)[:-400]
    )
    with pytest.raises(BadFile, match="cannot be read"):
        list(ReplayFile(path=broken, layout=layout()).messages())
    assert WINDOW > 1


def test_a_file_of_one_meter_needs_no_column_for_it_and_tells_how_often_it_speaks(
    tmp_path: Path,
) -> None:
    text = "time,litres\n" + "".join(f"2016-01-{d:02d},{100 * d}\n" for d in range(1, 11))
    file, found = read(tmp_path, text, device_column=None, device="Home 1")
    assert {device for device, _, _ in found} == {"home-1"} and len(found) == 10
    assert file.usual_interval_s() == 86_400
