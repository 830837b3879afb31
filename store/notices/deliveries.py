"""The outbox of notices: each change of an alert is planned once, and what is to be sent is a row until it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import sql

from store.alerts.alerts import Alert, list_by_ids
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one recipient of a channel. `unless` says what makes it needless: never, acknowledged, over."""

    message_id: str
    channel: str
    rule: str
    recipient: str
    alert_id: int
    seq: int
    urgent: bool
    unless: str
    subject: str
    body: str
    made_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedChange:
    """A change of an alert for which notices are to be planned."""

    seq: int
    step: str
    changed_at: datetime
    alert: Alert
    """The alert as it stands now."""


_COLUMNS = tuple(Delivery.__slots__)
_INSERT = sql.SQL(
    "INSERT INTO notice_deliveries ({}) VALUES ({}) ON CONFLICT (message_id) DO NOTHING"
).format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    sql.SQL(", ").join([sql.Placeholder()] * len(_COLUMNS)),
)


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


def add_deliveries(connection: Connection, deliveries: Sequence[Delivery]) -> None:
    """Put messages into the outbox; one that is there already stays as it is."""
    if not deliveries:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            _INSERT,
            [tuple(getattr(delivery, name) for name in _COLUMNS) for delivery in deliveries],
        )


def drop_needless(connection: Connection, channel: str, now: datetime) -> int:
    """Drop what is due on a channel and needed no more: its alert was seen, held back or is over."""
    done = connection.execute(
        "UPDATE notice_deliveries d SET result = 'dropped', result_at = %s, detail = CASE WHEN a.ended_at IS NOT NULL THEN 'over' "
        "WHEN a.suppression <> 'none' THEN 'held back' ELSE 'acknowledged' END FROM alerts a WHERE a.id = d.alert_id "
        "AND d.channel = %s AND d.result IS NULL AND d.due_at <= %s AND d.unless <> 'never' AND (a.ended_at IS NOT NULL OR a.suppression <> 'none' "
        "OR d.unless = 'acknowledged' AND a.acknowledgement <> 'unacknowledged')",
        [now, channel, now],
    )
    return done.rowcount


def take_due(
    connection: Connection, channel: str, now: datetime, limit: int
) -> list[dict[str, Any]]:
    """Lock what a channel has to send, urgent first; of one alert and recipient only the oldest, so that their order is kept.

    The lock lasts until the transaction ends, so that two senders never send the same; a sender that dies leaves it to be sent.
    """
    return connection.execute(
        "SELECT d.* FROM notice_deliveries d WHERE d.channel = %(channel)s AND d.result IS NULL AND d.due_at <= %(now)s AND NOT EXISTS "
        "(SELECT FROM notice_deliveries b WHERE b.alert_id = d.alert_id AND b.channel = d.channel AND b.recipient = d.recipient "
        "AND b.result IS NULL AND b.id < d.id AND b.unless = 'never' AND d.unless = 'never') "
        "ORDER BY d.urgent DESC, d.due_at, d.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
        {"channel": channel, "now": now, "limit": limit},
    ).fetchall()


def finish(
    connection: Connection,
    ids: Sequence[int],
    result: str,
    now: datetime,
    detail: str | None = None,
) -> None:
    """Note what became of deliveries; several that went out as one message share a bundle."""
    bundle = f"b{min(ids)}" if len(ids) > 1 else None
    connection.execute(
        "UPDATE notice_deliveries SET result = %s, result_at = %s, detail = %s, attempts = attempts + 1, bundle = %s WHERE id = ANY(%s)",
        [result, now, detail, bundle, list(ids)],
    )


def put_off(connection: Connection, ids: Sequence[int], due_at: datetime, detail: str) -> None:
    """Note that an attempt failed and when the next is due."""
    connection.execute(
        "UPDATE notice_deliveries SET attempts = attempts + 1, due_at = %s, detail = %s WHERE id = ANY(%s)",
        [due_at, detail, list(ids)],
    )


def count_sent(connection: Connection, channel: str, now: datetime, span: timedelta) -> int:
    """Count the messages that a channel has sent within a span; a bundle is one."""
    row = connection.execute(
        "SELECT count(DISTINCT coalesce(bundle, id::text)) AS n FROM notice_deliveries WHERE channel = %s AND result = 'sent' "
        "AND result_at > %s AND result_at <= %s",
        [channel, now - span, now],
    ).fetchone()
    return int(row["n"]) if row else 0


# Channels ------------------------------------------------------------------------------------------------------------


def read_state(connection: Connection, channel: str) -> dict[str, Any]:
    """Read how a channel does; one that never failed has no row."""
    row = connection.execute(
        "SELECT * FROM channel_states WHERE channel = %s", [channel]
    ).fetchone()
    return row or {
        "channel": channel,
        "failing_since": None,
        "disabled_at": None,
        "disabled_why": None,
        "blocked_until": None,
    }


def note_worked(connection: Connection, channel: str) -> None:
    """Note that a channel took a message."""
    connection.execute(
        "UPDATE channel_states SET failing_since = NULL, blocked_until = NULL WHERE channel = %s",
        [channel],
    )


def note_failing(
    connection: Connection, channel: str, now: datetime, blocked_until: datetime | None
) -> datetime:
    """Note that a channel failed, and until when it is left alone; returns since when it has been failing."""
    row = connection.execute(
        "INSERT INTO channel_states AS s (channel, failing_since, blocked_until) VALUES (%s, %s, %s) ON CONFLICT (channel) DO UPDATE "
        "SET failing_since = coalesce(s.failing_since, excluded.failing_since), "
        "blocked_until = coalesce(excluded.blocked_until, s.blocked_until) RETURNING failing_since",
        [channel, now, blocked_until],
    ).fetchone()
    assert row is not None
    return row["failing_since"]  # type: ignore[no-any-return]


def disable(connection: Connection, channel: str, now: datetime, why: str) -> None:
    """Stop using a channel until a person enables it; what is due on it waits."""
    connection.execute(
        "INSERT INTO channel_states (channel, disabled_at, disabled_why) VALUES (%s, %s, %s) ON CONFLICT (channel) DO UPDATE "
        "SET disabled_at = excluded.disabled_at, disabled_why = excluded.disabled_why",
        [channel, now, why],
    )


def enable(connection: Connection, channel: str) -> None:
    """Use a channel again."""
    connection.execute("DELETE FROM channel_states WHERE channel = %s", [channel])


def replay(
    connection: Connection, channel: str, since: datetime, now: datetime, *, failed_only: bool
) -> int:
    """Send again what a channel was given since an instant, with the same message ids; returns how many."""
    done = connection.execute(
        "UPDATE notice_deliveries SET result = NULL, result_at = NULL, detail = 'replayed', attempts = 0, made_at = %(now)s, due_at = %(now)s "
        "WHERE channel = %(channel)s AND made_at >= %(since)s AND (result = 'failed' OR NOT %(failed)s AND result = 'sent')",
        {"channel": channel, "since": since, "now": now, "failed": failed_only},
    )
    return done.rowcount


def count_by_channel(
    connection: Connection, now: datetime, estates: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Count what each channel has waiting, sent, dropped and failed, with how long the oldest has waited and how the channel does.

    Of the alerts of some estates, or of all.
    """
    scope = None if estates is None else list(estates)
    return connection.execute(
        "SELECT d.channel, count(*) FILTER (WHERE d.result IS NULL) AS waiting, count(*) FILTER (WHERE d.result = 'sent') AS sent, "
        "count(*) FILTER (WHERE d.result = 'dropped') AS dropped, count(*) FILTER (WHERE d.result = 'failed') AS failed, "
        "extract(epoch FROM %s - min(d.due_at) FILTER (WHERE d.result IS NULL))::float8 AS late_s, max(s.failing_since) AS failing_since, "
        "max(s.disabled_at) AS disabled_at, max(s.disabled_why) AS disabled_why FROM notice_deliveries d "
        "JOIN alerts a ON a.id = d.alert_id LEFT JOIN channel_states s USING (channel) "
        "WHERE %s::integer[] IS NULL OR a.estate_id = ANY(%s) GROUP BY d.channel ORDER BY d.channel",
        [now, scope, scope],
    ).fetchall()
