"""Commands from above: once each, reported always.

A terminal's list is the one that was sent, and nobody else's is touched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from domain.wire import Command
from gateway.commands import CommandExecutor
from gateway.outbox import OutboxEntry
from gateway.terminals import Terminal, TerminalFailed
from simulators.field.terminal import TerminalServer
from tests.gateway.conftest import Bench, until

PEOPLE = [
    {"person": f"p-{n:05d}", "from": "2026-11-01"} | ({"to": "2027-10-31"} if n % 2 else {})
    for n in range(70)
]


def text(port: int) -> str:
    return (
        '[push]\nport = 8900\n[[push.sources]]\nname = "doors"\nkind = '
        '"hikvision"\ntoken_file = "secret"\ndevices = [\n'
        '{ device = "door-1", profile = "door-terminal", address = "aa", control = { '
        f'url = "http://127.0.0.1:{port}", password_file = "password" }} }},\n'
        '{ device = "door-2", profile = "door-terminal", address = "bb" }]\n'
    )


def command(
    number: str, kind: str, device: str = "door-1", *, expires_in: int = 60_000, **argument: Any
) -> Command:
    return Command(
        v=1,
        id=number,
        device=device,
        command=kind,
        expires_at=int(time.time() * 1000) + expires_in,
        argument=argument,
    )


def results(made: Bench) -> dict[str, tuple[str, str]]:
    return {
        i["data"]["command"]: (i["data"]["result"], i["data"]["detail"])
        for i in made.items()
        if i.get("kind") == "command"
    }


def work(
    make: Callable[[str], Bench], script: Callable[[Bench, TerminalServer, CommandExecutor], Any]
) -> Bench:
    made: list[Bench] = []

    async def go() -> None:
        terminal = TerminalServer(password="field")
        await terminal.start()
        bench = make(text(terminal.port))
        made.append(bench)
        writer = asyncio.ensure_future(bench.outbox_writer.run())
        commander = CommandExecutor(bench.outbox_writer, bench.clock, lambda: None)
        commander.apply_config(bench.config, [])
        try:
            await asyncio.wait_for(script(bench, terminal, commander), 30)
        finally:
            writer.cancel()
            await terminal.stop()

    asyncio.run(go())
    return made[0]


def test_a_door_is_opened_once_however_often_it_is_asked(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, terminal: TerminalServer, commander: CommandExecutor) -> None:
        for _ in range(5):
            commander.receive(command("c-1", "door"))
            await asyncio.sleep(0.05)
        await until(lambda: "c-1" in results(made))
        commander.receive(command("c-1", "door"))
        await asyncio.sleep(0.2)
        assert terminal.opened == 1

    assert results(work(bench, script))["c-1"][0] == "done"


def test_expired_unknown_and_impossible_commands_are_reported(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, terminal: TerminalServer, commander: CommandExecutor) -> None:
        commander.receive(command("late", "door", expires_in=-1))
        commander.receive(command("nobody", "door", "door-9"))
        commander.receive(command("no-control", "door", "door-2"))
        commander.receive(command("valve", "valve", to="close"))
        terminal.refuse = True
        commander.receive(command("busy", "door"))
        await until(lambda: len(results(made)) == 5)
        assert terminal.opened == 0

    found = {name: result for name, (result, _) in results(work(bench, script)).items()}
    assert found == {
        "late": "expired",
        "nobody": "refused",
        "no-control": "refused",
        "valve": "refused",
        "busy": "failed",
    }


def test_what_was_begun_and_never_ended_is_reported_as_unknown_and_not_done_again(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, terminal: TerminalServer, commander: CommandExecutor) -> None:
        await made.outbox_writer.put(
            OutboxEntry(memory={"command/c-9": f"started {int(time.time() * 1000)} door-1"})
        )
        await commander.recover()
        commander.receive(command("c-9", "door"))
        await asyncio.sleep(0.2)
        assert terminal.opened == 0

    result, detail = results(work(bench, script))["c-9"]
    assert result == "unknown" and "look at the device" in detail


def test_who_may_pass(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, terminal: TerminalServer, commander: CommandExecutor) -> None:
        terminal.people["STAFF-1"] = {
            "employeeNo": "STAFF-1",
            "Valid": {"beginTime": "x", "endTime": "y"},
        }
        commander.receive(command("c-1", "credentials", people=PEOPLE))
        await until(lambda: "c-1" in results(made))
        assert set(terminal.people) == {"STAFF-1"} | {row["person"] for row in PEOPLE}
        assert terminal.people["p-00001"]["Valid"]["endTime"] == "2027-10-31T23:59:59"
        commander.receive(command("c-2", "credentials", people=PEOPLE[:10]))
        await until(lambda: "c-2" in results(made))
        # A tenancy ended: its people are gone, and whoever somebody else put there is not.
        assert set(terminal.people) == {"STAFF-1"} | {row["person"] for row in PEOPLE[:10]}
        commander.receive(command("c-3", "credentials", people=PEOPLE[:10]))
        await until(lambda: "c-3" in results(made))

    found = results(work(bench, script))
    assert [found[f"c-{n}"][1] for n in (1, 2, 3)] == [
        "70 people, 70 put, 0 removed",
        "10 people, 0 put, 60 removed",
        "10 people, 0 put, 0 removed",
    ]


def test_a_list_that_was_half_done_is_mended_by_the_next(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, terminal: TerminalServer, commander: CommandExecutor) -> None:
        commander.receive(command("c-1", "credentials", people=PEOPLE[:20]))
        await until(lambda: len(terminal.people) > 5)
        terminal.refuse = True
        await until(lambda: "c-1" in results(made))
        assert results(made)["c-1"][0] in ("failed", "done")
        terminal.refuse = False
        commander.receive(command("c-2", "credentials", people=PEOPLE[18:25]))
        await until(lambda: "c-2" in results(made))
        assert set(terminal.people) == {row["person"] for row in PEOPLE[18:25]}

    work(bench, script)


def test_a_terminal_that_cannot_be_reached_or_does_not_know_us(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, terminal: TerminalServer, commander: CommandExecutor) -> None:
        table = made.config.table.push.sources[0].devices[0].control  # type: ignore[union-attr]
        terminal.password = "another"
        with pytest.raises(TerminalFailed, match="401"):
            await Terminal(made.config, table).open_door()  # type: ignore[arg-type]
        await terminal.stop()

    work(bench, script)
