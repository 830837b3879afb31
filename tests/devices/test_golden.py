"""Golden folders: what a device's bytes mean, one case a file.

Adding a codec or a push is adding its folder here.

A frame's case holds `protocol`, `hex` and `says`, what `anju decode` prints. A push's case holds
`content_type`, `body` and `heard`, or `refused`. A poll's case holds a profile and the answers in
hex, and what comes of them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.explain import CODECS, explain
from devices.mapping import apply_profile
from devices.polls import POLLS
from devices.profiles import load_profiles
from devices.protocols.framing import FrameStream
from devices.pushes import PUSHES
from domain.rejection import Rejected

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.rglob("*.toml"))


def load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def of(kind: str) -> list[Path]:
    return [path for path in CASES if path.parent.parent.name == kind]


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", of("frames"), ids=name)
def test_frame(path: Path) -> None:
    case = load(path)
    explanation = explain(path.parent.name, bytes.fromhex(case["hex"]))
    assert explanation.lines == case["says"]
    assert explanation.understood is not explanation.lines[0].startswith("refused")


@pytest.mark.parametrize("path", of("pushes"), ids=name)
def test_push(path: Path) -> None:
    case = load(path)
    body = (
        bytes.fromhex(case["hex"])
        if "hex" in case
        else case["body"].encode(case.get("encoding", "utf-8"))
    )
    found = PUSHES[path.parent.name].parse(
        case["content_type"], body, lambda kind, value: f"<{kind} {value}>"
    )
    if isinstance(found, Rejected):
        assert case.get("refused") == str(found.reason), found.detail
        return
    assert msgspec.json.decode(msgspec.json.encode(found)) == case["heard"]


@pytest.mark.parametrize("path", of("polls"), ids=name)
def test_poll(path: Path) -> None:
    """The answers of a device, in the order of the profile's questions, come to values, alarms and
    a clock.
    """
    case = load(path)
    profile = load_profiles()[case["profile"]]
    poll = POLLS[path.parent.name]
    fields: dict[str, Any] = {}
    queries = poll.queries(profile, poll.address(case["address"]), True)
    assert len(queries) == len(case["answers"])
    for query, answer in zip(queries, case["answers"], strict=True):
        assert query.request.hex() == answer["asked"], query.what
        for frame in FrameStream(poll.codec).feed(bytes.fromhex(answer["hex"])):
            assert query.read is not None
            fields_of_reply = query.read(frame)
            assert not isinstance(fields_of_reply, Rejected), fields_of_reply
            fields.update(fields_of_reply or {})
    found = apply_profile(profile, poll.combine(profile, fields))
    assert found.values == case["values"]
    assert (found.clock.isoformat() if found.clock else "") == case.get("clock", "")
    assert [alarm.word for alarm in found.alarms if alarm.on] == case.get("alarms", [])
    frozen = [] if found.frozen is None else [[found.frozen.at.isoformat(), found.frozen.values]]
    assert frozen == case.get("frozen", [])


def test_every_format_has_its_folder() -> None:
    for kind, names in (("frames", set(CODECS)), ("pushes", set(PUSHES)), ("polls", set(POLLS))):
        assert {path.parent.name for path in of(kind)} == names, kind
