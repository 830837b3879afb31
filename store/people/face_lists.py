"""The lists of consents that gateways are sent for each of their doors, and which doors need theirs
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg.rows import class_row

from store.database.connection import Connection
from store.gateways.door_lists import list_digest

#: A list is sent again after so long although nothing has changed, so that gateways know it is
#: fresh.
RESEND_AFTER = timedelta(hours=24)
#: A list that could not be taken is sent again after so long.
RETRY_AFTER = timedelta(minutes=1)

#: A line of a list as it is sent: consent, person, and the last day (`to`) on which the consent
#: holds.
ListLine = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorConsent:
    """A consent that holds at a door, with the person's code and the last day."""

    door: int
    consent: str
    person: str
    holds_to: date

    def to_line(self) -> ListLine:
        """Return the line of the door's list."""
        return {"consent": self.consent, "person": self.person, "to": self.holds_to.isoformat()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentList:
    """The list that was sent to a door last, its result, and when the door's gateway has started
    last.
    """

    device_id: int
    digest: str
    made_at: datetime
    result: str | None
    result_at: datetime | None
    born_at: datetime | None

    def is_stale(self, digest: str, now: datetime) -> bool:
        """Tell whether the list has to be sent again, `digest` being that of the present one."""
        if self.result is None:
            return self.digest != digest
        assert self.result_at is not None
        if self.result == "done":
            # A gateway that has started since may have been restored, and hold what a backup held.
            has_started = self.born_at is not None and self.born_at > self.result_at
            return self.digest != digest or has_started or self.made_at < now - RESEND_AFTER
        return self.result == "expired" or self.result_at < now - RETRY_AFTER


def read_lists(connection: Connection, day: date) -> dict[int, list[ListLine]]:
    """Read for every door with a gateway the consents that hold there on a day, by device id.

    A consent holds while it is not withdrawn and not over, and its person lives behind that door. A
    door that never had a list and needs none is left out.
    """
    listed = connection.execute("""
        SELECT f.device_id
        FROM people.face_lists f
        JOIN devices d ON d.id = f.device_id
        WHERE d.gateway_id IS NOT NULL
    """)
    lists: dict[int, list[ListLine]] = {row["device_id"]: [] for row in listed}
    with connection.cursor(row_factory=class_row(DoorConsent)) as cursor:
        for consent in cursor.execute(_LIST_DOOR_CONSENTS, {"day": day}):
            lists.setdefault(consent.door, []).append(consent.to_line())
    return lists


_LIST_DOOR_CONSENTS = """
    SELECT DISTINCT d.id AS door, c.code AS consent, r.code AS person, c.holds_to
    FROM people.face_consents c
    JOIN residents r ON r.id = c.resident_id
    JOIN entrances n ON n.id = c.entrance_id
    JOIN mounts m
        ON (m.entrance_id = n.id OR m.building_id = n.building_id)
        AND (m.valid_to IS NULL OR m.valid_to > now())
    JOIN devices d
        ON d.id = m.device_id
        AND d.kind = 'door'
        AND d.gateway_id IS NOT NULL
        AND d.retired_on IS NULL
    JOIN tenancies t ON t.household_id = r.household_id
    JOIN units u ON u.id = t.unit_id AND u.entrance_id = c.entrance_id
    WHERE c.withdrawn_at IS NULL
      AND c.kept_at = 'gateway'
      AND c.holds_to >= %(day)s
      AND coalesce(t.valid_to, %(day)s) >= %(day)s
      AND coalesce(r.valid_to, %(day)s) >= %(day)s
      AND greatest(t.valid_from, r.valid_from) <= %(day)s
    ORDER BY d.id, c.code
"""


def find_stale_doors(
    connection: Connection, lists: Mapping[int, list[ListLine]], now: datetime
) -> list[int]:
    """Return the device ids of the doors whose list has to be sent."""
    with connection.cursor(row_factory=class_row(SentList)) as cursor:
        sent = {row.device_id: row for row in cursor.execute(_LIST_SENT_LISTS)}
    return [
        door
        for door, lines in sorted(lists.items())
        if door not in sent or sent[door].is_stale(list_digest(lines), now)
    ]


_LIST_SENT_LISTS = """
    SELECT
        f.device_id,
        f.digest,
        f.made_at,
        c.result,
        c.result_at,
        (SELECT max(b.at) FROM gateway_births b WHERE b.gateway_id = d.gateway_id) AS born_at
    FROM people.face_lists f
    JOIN commands c ON c.id = f.command_id
    JOIN devices d ON d.id = f.device_id
"""


def record_sent_list(
    connection: Connection, door: int, lines: list[ListLine], command_id: int
) -> None:
    """Note which list is on its way to a door."""
    connection.execute(
        """
        INSERT INTO people.face_lists (device_id, digest, consents, command_id)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (device_id) DO UPDATE
        SET
            digest = excluded.digest,
            consents = excluded.consents,
            command_id = excluded.command_id,
            made_at = now()
        """,
        [door, list_digest(lines), len(lines), command_id],
    )
