"""The lists of who may pass which door: what they should be, and what each door was last given."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg.rows import class_row, scalar_row

from store.database.connection import Connection

#: An entry of a door's list: `person` is a token, `from` and `to` are days; `to` may be absent.
DoorPerson = dict[str, str]
#: A list whose sending failed is given again after this.
GIVE_AGAIN_AFTER = timedelta(minutes=10)
#: Results of a command after which the door does not have the list.
_NOT_GIVEN = ("failed", "expired", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorEntry:
    """A person who may pass a door, over some days; `to_day` is None while it lasts."""

    door: int
    person: str
    from_day: date
    to_day: date | None

    def as_item(self) -> DoorPerson:
        """Return it as an entry of the door's list."""
        item = {"person": self.person, "from": self.from_day.isoformat()}
        if self.to_day is not None:
            item["to"] = self.to_day.isoformat()
        return item


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenList:
    """The digest of the list that a door was last given, and what became of its command."""

    device_id: int
    digest: str
    result: str | None
    result_at: datetime | None

    def has_failed(self, before: datetime) -> bool:
        """Tell whether its sending had failed by an instant."""
        return self.result in _NOT_GIVEN and self.result_at is not None and self.result_at < before


def list_door_people(connection: Connection, day: date) -> dict[int, list[DoorPerson]]:
    """Return by door who may pass it from a day on: the residents of the tenancies behind it.

    The doors are those that a gateway speaks for. A door stands at an entrance, or at a building
    for all of its entrances. The days of a guest or a carer are their own.
    """
    with connection.cursor(row_factory=scalar_row) as cursor:
        doors: dict[int, list[DoorPerson]] = {door: [] for door in cursor.execute(_LIST_DOORS)}
    with connection.cursor(row_factory=class_row(DoorEntry)) as cursor:
        for entry in cursor.execute(_LIST_DOOR_ENTRIES, {"doors": list(doors), "day": day}):
            doors[entry.door].append(entry.as_item())
    return doors


_LIST_DOORS = """
    SELECT DISTINCT d.id
    FROM devices d
    JOIN mounts m ON m.device_id = d.id
    WHERE d.kind = 'door'
      AND d.gateway_id IS NOT NULL
      AND d.retired_on IS NULL
      AND (m.valid_to IS NULL OR m.valid_to > now())
      AND num_nonnulls(m.entrance_id, m.building_id) = 1
"""
_LIST_DOOR_ENTRIES = """
    SELECT
        d.id AS door,
        r.code AS person,
        min(greatest(t.valid_from, r.valid_from)) AS from_day,
        CASE WHEN bool_or(t.valid_to IS NULL AND r.valid_to IS NULL)
            THEN NULL
            ELSE max(least(coalesce(t.valid_to, r.valid_to), coalesce(r.valid_to, t.valid_to)))
        END AS to_day
    FROM devices d
    JOIN mounts m ON m.device_id = d.id AND (m.valid_to IS NULL OR m.valid_to > now())
    JOIN entrances n ON n.id = m.entrance_id OR n.building_id = m.building_id
    JOIN units u ON u.entrance_id = n.id
    JOIN tenancies t ON t.unit_id = u.id
    JOIN residents r ON r.household_id = t.household_id
    WHERE d.id = ANY(%(doors)s)
      AND coalesce(t.valid_to, %(day)s) >= %(day)s
      AND coalesce(r.valid_to, %(day)s) >= %(day)s
      AND greatest(t.valid_from, r.valid_from)
          <= least(coalesce(t.valid_to, 'infinity'), coalesce(r.valid_to, 'infinity'))
    GROUP BY d.id, r.code
    ORDER BY d.id, r.code
"""


def lock_lists(connection: Connection) -> bool:
    """Take the lock on renewing lists until the transaction ends; False where another has it."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        query = "SELECT pg_try_advisory_xact_lock(hashtext('anju.door_lists'))"
        return bool(cursor.execute(query).fetchone())


def list_digest(people: list[DoorPerson]) -> str:
    """Return the SHA-256 of a list, in hex."""
    return hashlib.sha256(json.dumps(people, sort_keys=True).encode()).hexdigest()


def list_stale_doors(
    connection: Connection, lists: dict[int, list[DoorPerson]], now: datetime
) -> list[int]:
    """List the doors that have to be given their list, by id.

    Their list is another one than they were given, or its sending failed a while ago. A door that
    was never given a list and has nobody to let in is left alone.
    """
    with connection.cursor(row_factory=class_row(GivenList)) as cursor:
        given = {row.device_id: row for row in cursor.execute(_LIST_GIVEN)}
    return [
        door for door, people in sorted(lists.items()) if _is_stale(given.get(door), people, now)
    ]


def _is_stale(given: GivenList | None, people: list[DoorPerson], now: datetime) -> bool:
    if given is None:
        return bool(people)
    return given.digest != list_digest(people) or given.has_failed(now - GIVE_AGAIN_AFTER)


_LIST_GIVEN = """
    SELECT l.device_id, l.digest, c.result, c.result_at
    FROM door_lists l
    JOIN commands c ON c.id = l.command_id
"""


def save_given_list(
    connection: Connection, door: int, people: list[DoorPerson], command_id: int
) -> None:
    """Save which list is on its way to a door, and the command that carries it."""
    connection.execute(_SAVE_GIVEN_LIST, [door, list_digest(people), len(people), command_id])


_SAVE_GIVEN_LIST = """
    INSERT INTO door_lists (device_id, digest, people, command_id)
    VALUES (%s, %s, %s, %s)
    ON CONFLICT (device_id) DO UPDATE
    SET digest = excluded.digest,
        people = excluded.people,
        command_id = excluded.command_id,
        made_at = now()
"""
