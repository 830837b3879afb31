"""Commands that people gave, and the lists of who may pass when tenancies change.

Everything here is a row first. It is sent until its gateway reports or it expires, so that neither
a broker that forgets nor a restart loses one. A gateway that receives it twice acts once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import structlog

from domain import wire
from domain.calendar import DEFAULT_ZONE, to_ms
from domain.wire import CommandKind, Down
from store.database.connection import Connection
from store.gateways import commands, door_lists
from store.people import face_lists

log = structlog.get_logger()

#: How often commands that are due are looked for.
EVERY_S = 1.0
LISTS_EVERY_S = 60.0
#: Faces are looked at more often: whoever withdraws is gone from every gateway that is on line
#: within a minute.
FACES_EVERY_S = 10.0
LIST_LIVES = timedelta(hours=6)
#: Who gave a command that follows from the register.
REGISTER = "register"

#: Takes a topic and a payload.
Publish = Callable[[str, bytes], object]


@dataclass(slots=True)
class Dispatcher:
    """Sends what is due."""

    publish: Publish
    _commands_at: float = field(default=float("-inf"))
    _lists_at: float = field(default=float("-inf"))
    _faces_at: float = field(default=float("-inf"))

    def step(self, connection: Connection, monotonic: float) -> None:
        """Send what is due; called often, and does nothing in between."""
        if monotonic - self._commands_at < EVERY_S:
            return
        self._commands_at = monotonic
        now = datetime.now(UTC)
        if monotonic - self._lists_at >= LISTS_EVERY_S:
            self._lists_at = monotonic
            with connection.transaction():
                renew_lists(connection, now)
        if monotonic - self._faces_at >= FACES_EVERY_S:
            self._faces_at = monotonic
            with connection.transaction():
                renew_face_lists(connection, now)
        with connection.transaction():
            due = commands.take_due(connection, now)
        for row in due:
            command = wire.Command(
                v=wire.VERSION,
                id=row.code,
                device=row.device,
                command=row.kind,
                expires_at=to_ms(row.expires_at),
                argument=dict(row.argument),
            )
            topic = wire.down_topic(row.estate, row.gateway, Down.COMMAND)
            self.publish(topic, msgspec.json.encode(command))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRenewal:
    """Lists that doors are to be given: the kind of command, and the name of its argument."""

    kind: CommandKind
    argument: str
    #: The lists by door's id.
    lists: dict[int, list[dict[str, str]]]
    reason: str
    #: Notes which list is on its way to a door.
    note: Callable[[Connection, int, list[dict[str, str]], int], None]


def renew_lists(connection: Connection, now: datetime) -> int:
    """Give every door whose people changed its new list; return how many."""
    if not door_lists.lock_lists(connection):
        return 0
    renewal = ListRenewal(
        kind=CommandKind.CREDENTIALS,
        argument="people",
        lists=door_lists.list_door_people(connection, _local_day(now)),
        reason="who may pass follows from tenancies",
        note=door_lists.save_given_list,
    )
    stale = door_lists.list_stale_doors(connection, renewal.lists, now)
    return _give(connection, renewal, stale, now)


def renew_face_lists(connection: Connection, now: datetime) -> int:
    """Give doors their lists of consents again; return how many.

    A door is given its list where a consent changed, or where its gateway may hold an old one.
    """
    if not door_lists.lock_lists(connection):
        return 0
    renewal = ListRenewal(
        kind=CommandKind.FACES,
        argument="consents",
        lists=face_lists.read_lists(connection, _local_day(now)),
        reason="whose face may be compared follows from consents",
        note=face_lists.record_sent_list,
    )
    stale = face_lists.find_stale_doors(connection, renewal.lists, now)
    return _give(connection, renewal, stale, now)


def _local_day(now: datetime) -> date:
    return now.astimezone(ZoneInfo(DEFAULT_ZONE)).date()


def _give(connection: Connection, renewal: ListRenewal, doors: list[int], now: datetime) -> int:
    """Send doors their lists, and note each; return how many."""
    for door in doors:
        door_list = renewal.lists[door]
        command = commands.NewCommand(
            code=commands.new_code(),
            device_id=door,
            kind=renewal.kind,
            argument={renewal.argument: door_list},
            issued_by=REGISTER,
            reason=renewal.reason,
            expires_at=now + LIST_LIVES,
        )
        command_id = commands.give_command(connection, command)
        renewal.note(connection, door, door_list, command_id)
    if doors:
        log.info("lists_given", kind=str(renewal.kind), doors=len(doors))
    return len(doors)
