"""What goes down: commands that people gave, and the lists of who may pass when tenancies change.

Everything here is a row first; it is sent until its gateway reports or it expires, so that neither a broker that forgets
nor a restart loses one, and a gateway that hears it twice acts once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import structlog

from domain import wire
from domain.calendar import DEFAULT_ZONE, to_ms
from domain.wire import CommandKind, Down
from store.database.connection import Connection
from store.gateways import commands
from store.people import face_lists

log = structlog.get_logger()

#: Faces are looked at more often: whoever withdraws is gone from every gateway that is on line within a minute.
EVERY_S, LISTS_EVERY_S, FACES_EVERY_S = 1.0, 60.0, 10.0
LIST_LIVES = timedelta(hours=6)
#: Who gave a command that follows from the register.
REGISTER = "register"

Publish = Callable[[str, bytes], object]


@dataclass(slots=True)
class Dispatcher:
    """Sends what is due. `publish` takes a topic and a payload."""

    publish: Publish
    _looked: float = field(default=float("-inf"))
    _listed: float = field(default=float("-inf"))
    _faces: float = field(default=float("-inf"))

    def step(self, connection: Connection, monotonic: float) -> None:
        """Look for what is due; asked often, and does nothing in between."""
        if monotonic - self._looked < EVERY_S:
            return
        self._looked = monotonic
        now = datetime.now(UTC)
        if monotonic - self._listed >= LISTS_EVERY_S:
            self._listed = monotonic
            with connection.transaction():
                renew_lists(connection, now)
        if monotonic - self._faces >= FACES_EVERY_S:
            self._faces = monotonic
            with connection.transaction():
                renew_face_lists(connection, now)
        with connection.transaction():
            due = commands.take_due(connection, now)
        for row in due:
            command = wire.Command(
                v=wire.VERSION,
                id=row["code"],
                device=row["device"],
                command=row["kind"],
                expires_at=to_ms(row["expires_at"]),
                argument=row["argument"],
            )
            self.publish(
                wire.down_topic(row["estate"], row["gateway"], Down.COMMAND),
                msgspec.json.encode(command),
            )


def renew_lists(connection: Connection, now: datetime) -> int:
    """Give every door whose people changed its new list; returns how many."""
    if not commands.hold_lists(connection):
        return 0
    lists = commands.door_people(connection, now.astimezone(ZoneInfo(DEFAULT_ZONE)).date())
    stale = commands.stale_doors(connection, lists, now)
    why = "who may pass follows from tenancies"
    return _give(
        connection, CommandKind.CREDENTIALS, "people", lists, stale, commands.note_list, why, now
    )


def renew_face_lists(connection: Connection, now: datetime) -> int:
    """Give every door whose consents changed, or whose gateway may hold old ones, the list as it stands; returns how many."""
    if not commands.hold_lists(connection):
        return 0
    lists = face_lists.read_lists(connection, now.astimezone(ZoneInfo(DEFAULT_ZONE)).date())
    stale = face_lists.find_stale_doors(connection, lists, now)
    why = "whose face may be compared follows from consents"
    return _give(
        connection,
        CommandKind.FACES,
        "consents",
        lists,
        stale,
        face_lists.record_sent_list,
        why,
        now,
    )


def _give(
    connection: Connection,
    kind: CommandKind,
    name: str,
    lists: dict[int, list[dict[str, str]]],
    doors: list[int],
    note: Callable[[Connection, int, list[dict[str, str]], int], None],
    why: str,
    now: datetime,
) -> int:
    """Send doors their lists, as the argument `name` of a command of a kind, and note each; returns how many."""
    for door in doors:
        command_id = commands.issue(
            connection,
            code=commands.new_code(),
            device_id=door,
            kind=kind,
            argument={name: lists[door]},
            issued_by=REGISTER,
            reason=why,
            expires_at=now + LIST_LIVES,
        )
        note(connection, door, lists[door], command_id)
    if doors:
        log.info("lists_given", kind=str(kind), doors=len(doors))
    return len(doors)
