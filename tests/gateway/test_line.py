"""One line: a query has its reply, a conflict and noise are told apart, a line that is down says
so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from devices.polls.query import PollQuery
from devices.protocols import dlt645
from domain.rejection import Reason, Rejected
from gateway.config_tables import BusTable
from gateway.line import FIRST_PAUSE_S, LONGEST_PAUSE_S, LineDown, SerialLine

ADDRESS = "000000000001"
TOTAL = "00010000"


def reply(value: float) -> bytes:
    data = dlt645.encode_values(TOTAL, value)
    return dlt645.CODEC.encode(dlt645.read_reply(ADDRESS, TOTAL, data))


def read(frame: dlt645.Dlt645Frame) -> dict[str, Any] | None:
    return {"data": frame.data} if frame.address == ADDRESS and frame.is_reply else None


QUERY = PollQuery(
    request=dlt645.CODEC.encode(dlt645.read_request(ADDRESS, TOTAL)), read=read, what=TOTAL
)


def query(
    answers: list[bytes], read_by: Callable[[Any], Any] | None = read, retries: int = 0
) -> Any:
    """Query a server that gives one answer to each request, in order."""

    async def main() -> Any:
        waiting = list(answers)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(4096):
                writer.write(waiting.pop(0) if waiting else b"")

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        table = BusTable(
            name="l",
            at=f"127.0.0.1:{port}",
            devices=[],
            timeout_ms=300,
            quiet_ms=60,
            retries=retries,
        )
        line = SerialLine(table, dlt645.CODEC)
        try:
            asked = PollQuery(request=QUERY.request, read=read_by, what=TOTAL)
            return await line.query(asked)
        finally:
            line.close()
            server.close()

    return asyncio.run(main())


def test_a_reply_is_read_behind_noise_and_an_echo() -> None:
    found = query([b"\x00\x01" + QUERY.request + reply(1.0)])
    assert found == {"data": bytes.fromhex(TOTAL)[::-1] + dlt645.encode_values(TOTAL, 1.0)}


@pytest.mark.parametrize(
    ("answer", "reason", "named"),
    [
        (b"", Reason.TRUNCATED, "no answer to 00010000 within 300 ms"),
        (reply(1.0)[:-2] + b"\x00\x16", Reason.BAD_CHECKSUM, "checksum"),
        (reply(1.0) + reply(2.0), Reason.CONFLICT, "another device on this line"),
    ],
)
def test_what_is_no_single_reply_is_named(answer: bytes, reason: Reason, named: str) -> None:
    found = query([answer])
    assert isinstance(found, Rejected)
    assert found.reason is reason
    assert named in found.detail


def test_the_same_reply_twice_is_no_conflict() -> None:
    assert isinstance(query([reply(1.0) * 2]), dict)


def test_a_query_is_repeated_after_silence() -> None:
    assert isinstance(query([b"", reply(1.0)], retries=1), dict)


def test_a_broadcast_waits_for_no_reply() -> None:
    assert query([], None) == {}


def test_a_line_that_is_down_says_so_and_its_pauses_grow_to_a_limit() -> None:
    line = SerialLine(BusTable(name="l", at="127.0.0.1:1", devices=[]), dlt645.CODEC)
    with pytest.raises(LineDown, match="127.0.0.1:1 cannot be reached"):
        asyncio.run(line.query(QUERY))
    pauses = [line.next_pause() for _ in range(20)]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses[-1] == LONGEST_PAUSE_S
    assert pauses == sorted(pauses)
