"""The outbox of notices: each change is planned once, each message stays until it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from psycopg import sql
from psycopg.rows import class_row

from store.alerts.alerts import Alert, list_by_ids
from store.database.connection import Connection


class DropCondition(StrEnum):
    """When a message is dropped before it was sent."""

    NEVER = "never"
    """Never: it is sent whatever happens."""
    ACKNOWLEDGED = "acknowledged"
    """Once the alert is acknowledged or suppressed, or has ended."""
    OVER = "over"
    """Once the alert is suppressed or has ended."""


class DeliveryResult(StrEnum):
    """What became of a message."""

    SENT = "sent"
    DROPPED = "dropped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A message to one recipient of a channel that is to be sent."""

    message_id: str
    channel: str
    rule: str
    recipient: str
    alert_id: int
    seq: int
    """The change of the alert that it reports."""
    urgent: bool
    unless: DropCondition
    subject: str
    body: str
    made_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(NewDelivery):
    """A message in the outbox."""

    id: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedChange:
    """A change of an alert for which notices are to be planned."""

    seq: int
    step: str
    changed_at: datetime
    alert: Alert
    """The alert as it stands now."""


def take_changes(connection: Connection, limit: int = 200) -> list[QueuedChange]:
    """Take changes that have not been planned, with their alerts as they stand now.

    They are taken inside the transaction that plans them: if it fails, they are back.
    """
    rows = connection.execute(
        """
        WITH taken AS (
            DELETE FROM notice_queue
            WHERE seq IN (
                SELECT seq
                FROM notice_queue
                ORDER BY seq
                LIMIT %s
                FOR UPDATE SKIP LOCKED
            )
            RETURNING seq
        )
        SELECT c.seq, c.step, c.at, c.alert_id
        FROM taken t
        JOIN alert_changes c USING (seq)
        ORDER BY c.seq
        """,
        [limit],
    ).fetchall()
    alerts = list_by_ids(connection, {row["alert_id"] for row in rows})
    return [
        QueuedChange(
            seq=row["seq"],
            step=row["step"],
            changed_at=row["at"],
            alert=alerts[row["alert_id"]],
        )
        for row in rows
    ]


_COLUMNS = tuple(NewDelivery.__slots__)
_ADD = sql.SQL("""
    INSERT INTO notice_deliveries ({columns})
    VALUES ({values})
    ON CONFLICT (message_id) DO NOTHING
""").format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS)),
)


def add_deliveries(connection: Connection, deliveries: Sequence[NewDelivery]) -> None:
    """Put messages into the outbox; one whose id is there already stays as it is."""
    if not deliveries:
        return
    rows = [{name: getattr(delivery, name) for name in _COLUMNS} for delivery in deliveries]
    with connection.cursor() as cursor:
        cursor.executemany(_ADD, rows)


def drop_needless(connection: Connection, channel: str, now: datetime) -> int:
    """Drop the due messages of a channel that are not needed any more; returns how many.

    Their alert was acknowledged or suppressed, or has ended.
    """
    dropped = connection.execute(
        """
        UPDATE notice_deliveries d
        SET result = 'dropped',
            result_at = %(now)s,
            detail = CASE
                WHEN a.ended_at IS NOT NULL THEN 'over'
                WHEN a.suppression <> 'none' THEN 'held back'
                ELSE 'acknowledged'
            END
        FROM alerts a
        WHERE a.id = d.alert_id
          AND d.channel = %(channel)s
          AND d.result IS NULL
          AND d.due_at <= %(now)s
          AND d.unless <> 'never'
          AND (
              a.ended_at IS NOT NULL
              OR a.suppression <> 'none'
              OR d.unless = 'acknowledged' AND a.acknowledgement <> 'unacknowledged'
          )
        """,
        {"channel": channel, "now": now},
    )
    return dropped.rowcount


def take_due(connection: Connection, channel: str, now: datetime, limit: int) -> list[Delivery]:
    """Lock the due messages of a channel until the transaction ends, urgent ones first.

    Of one alert and recipient only the oldest is taken, so that their order is kept. Two senders
    never send the same message; if a sender dies, its messages are free again.
    """
    query = sql.SQL("""
        SELECT d.id, d.attempts, {columns}
        FROM notice_deliveries d
        WHERE d.channel = %(channel)s
          AND d.result IS NULL
          AND d.due_at <= %(now)s
          AND NOT EXISTS (
              SELECT
              FROM notice_deliveries b
              WHERE b.alert_id = d.alert_id
                AND b.channel = d.channel
                AND b.recipient = d.recipient
                AND b.result IS NULL
                AND b.id < d.id
                AND b.unless = 'never'
                AND d.unless = 'never'
          )
        ORDER BY d.urgent DESC, d.due_at, d.id
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    """).format(columns=sql.SQL(", ").join(sql.Identifier("d", name) for name in _COLUMNS))
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(query, {"channel": channel, "now": now, "limit": limit}).fetchall()


def finish(
    connection: Connection,
    delivery_ids: Sequence[int],
    result: DeliveryResult,
    now: datetime,
    detail: str | None = None,
) -> None:
    """Note what became of messages; several that went out as one share a bundle."""
    bundle = f"b{min(delivery_ids)}" if len(delivery_ids) > 1 else None
    connection.execute(
        """
        UPDATE notice_deliveries
        SET result = %s,
            result_at = %s,
            detail = %s,
            attempts = attempts + 1,
            bundle = %s
        WHERE id = ANY(%s)
        """,
        [result, now, detail, bundle, list(delivery_ids)],
    )


def put_off(
    connection: Connection, delivery_ids: Sequence[int], due_at: datetime, detail: str
) -> None:
    """Note that an attempt failed, and when the next one is due."""
    connection.execute(
        """
        UPDATE notice_deliveries
        SET attempts = attempts + 1, due_at = %s, detail = %s
        WHERE id = ANY(%s)
        """,
        [due_at, detail, list(delivery_ids)],
    )


def count_sent(connection: Connection, channel: str, now: datetime, span: timedelta) -> int:
    """Count the messages that a channel has sent within a span; a bundle counts as one."""
    row = connection.execute(
        """
        SELECT count(DISTINCT coalesce(bundle, id::text)) AS sent
        FROM notice_deliveries
        WHERE channel = %s
          AND result = 'sent'
          AND result_at > %s
          AND result_at <= %s
        """,
        [channel, now - span, now],
    ).fetchone()
    return int(row["sent"]) if row else 0


def replay(
    connection: Connection, channel: str, since: datetime, now: datetime, *, failed_only: bool
) -> int:
    """Send the messages of a channel again that were made since an instant; returns how many.

    They keep their message ids, so that a receiver can tell that it has them.
    """
    replayed = connection.execute(
        """
        UPDATE notice_deliveries
        SET result = NULL,
            result_at = NULL,
            detail = 'replayed',
            attempts = 0,
            made_at = %(now)s,
            due_at = %(now)s
        WHERE channel = %(channel)s
          AND made_at >= %(since)s
          AND (result = 'failed' OR NOT %(failed_only)s AND result = 'sent')
        """,
        {"channel": channel, "since": since, "now": now, "failed_only": failed_only},
    )
    return replayed.rowcount
