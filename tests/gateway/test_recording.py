"""A recording is read as it was written, byte for byte, and a bad line is named by its number."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.broker import BrokerAddress
from gateway.recording import Player, encode_line, list_recordings, read_recording
from gateway.replay import BadFile

TOPIC = "anju/v1/es/gw-1/up/readings"


@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(str.encode)
    | st.dictionaries(st.text(), st.integers()).map(lambda d: json.dumps(d).encode())
)
def test_whatever_was_sent_comes_back(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes
) -> None:
    path = tmp_path_factory.mktemp("r") / "r.jsonl.gz"
    line = encode_line(TOPIC, payload)
    assert line.count(b"\n") == 1
    with gzip.open(path, "wb") as out:
        out.write(line)
    ((topic, back),) = list(read_recording(path))
    assert topic == TOPIC and (back == payload or back == payload.strip())


def test_plain_files_are_read_too_and_empty_lines_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"topic": "a/b", "payload": {"v": 1,  "x": [1.50]}}\n\n{"topic": "a/b", '
        '"payload": "text"}\n'
    )
    assert list(read_recording(path)) == [("a/b", b'{"v": 1,  "x": [1.50]}'), ("a/b", b"text")]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"topic": 1, "payload": {}}',
        '{"topic": "a"}',
        '{"topic": "a", "payload_base64": "?"}',
        "\x00",
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"topic": "a", "payload": {}}\n' + text + "\n")
    with pytest.raises(BadFile, match=r"r\.jsonl:2: "):
        list(read_recording(path))


def test_a_file_that_is_cut_off_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "r.gz"
    path.write_bytes(gzip.compress(encode_line(TOPIC, b"{}") * 5000)[:-20])
    with pytest.raises(BadFile, match="cut off"):
        list(read_recording(path))
    with pytest.raises(BadFile, match="cannot be opened"):
        list(read_recording(tmp_path / "none"))


def test_directories_give_their_files_in_order(tmp_path: Path) -> None:
    for name in ("b.gz", "a.gz", ".hidden"):
        (tmp_path / name).touch()
    assert [p.name for p in list_recordings([tmp_path])] == ["a.gz", "b.gz"]
    with pytest.raises(BadFile, match="no such file"):
        list_recordings([tmp_path / "c"])
    with pytest.raises(BadFile, match="no recording"):
        list_recordings([])


def test_only_what_a_gateway_says_is_played() -> None:
    with Player(BrokerAddress()) as player, pytest.raises(BadFile, match="is not anju/v1"):
        player.play("somewhere/else", b"{}")
