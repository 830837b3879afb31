"""How the channels of notices do: which fail, which wait, and which a person must enable again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """How one channel does; a channel that never failed has no row."""

    channel: str
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    disabled_why: str | None = None
    blocked_until: datetime | None = None

    def takes_messages(self, now: datetime) -> bool:
        """Whether messages may be sent on it now."""
        is_blocked = self.blocked_until is not None and self.blocked_until > now
        return self.disabled_at is None and not is_blocked


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCount:
    """How many messages a channel has, and how it does."""

    channel: str
    waiting: int
    sent: int
    dropped: int
    failed: int
    late_s: float | None
    """How long the oldest message has been due."""
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None


def read_state(connection: Connection, channel: str) -> ChannelState:
    """Read how a channel does."""
    query = """
        SELECT channel, failing_since, disabled_at, disabled_why, blocked_until
        FROM channel_states
        WHERE channel = %s
    """
    with connection.cursor(row_factory=class_row(ChannelState)) as cursor:
        state = cursor.execute(query, [channel]).fetchone()
    return state or ChannelState(channel=channel)


def note_worked(connection: Connection, channel: str) -> None:
    """Note that a channel took a message."""
    connection.execute(
        """
        UPDATE channel_states
        SET failing_since = NULL, blocked_until = NULL
        WHERE channel = %s
        """,
        [channel],
    )


def note_failing(
    connection: Connection, channel: str, now: datetime, blocked_until: datetime | None
) -> datetime:
    """Note that a channel failed, and until when nothing is sent on it.

    Returns since when it has been failing.
    """
    row = connection.execute(
        """
        INSERT INTO channel_states AS s (channel, failing_since, blocked_until)
        VALUES (%s, %s, %s)
        ON CONFLICT (channel) DO UPDATE SET
            failing_since = coalesce(s.failing_since, excluded.failing_since),
            blocked_until = coalesce(excluded.blocked_until, s.blocked_until)
        RETURNING failing_since
        """,
        [channel, now, blocked_until],
    ).fetchone()
    assert row is not None
    failing_since: datetime = row["failing_since"]
    return failing_since


def disable(connection: Connection, channel: str, now: datetime, why: str) -> None:
    """Stop using a channel until a person enables it; what is due on it waits."""
    connection.execute(
        """
        INSERT INTO channel_states (channel, disabled_at, disabled_why)
        VALUES (%s, %s, %s)
        ON CONFLICT (channel) DO UPDATE SET
            disabled_at = excluded.disabled_at,
            disabled_why = excluded.disabled_why
        """,
        [channel, now, why],
    )


def enable(connection: Connection, channel: str) -> None:
    """Use a channel again."""
    connection.execute("DELETE FROM channel_states WHERE channel = %s", [channel])


def count_by_channel(
    connection: Connection, now: datetime, estates: Sequence[int] | None = None
) -> list[ChannelCount]:
    """Count the messages of each channel about alerts of some estates, or of all."""
    query = """
        SELECT
            d.channel,
            count(*) FILTER (WHERE d.result IS NULL) AS waiting,
            count(*) FILTER (WHERE d.result = 'sent') AS sent,
            count(*) FILTER (WHERE d.result = 'dropped') AS dropped,
            count(*) FILTER (WHERE d.result = 'failed') AS failed,
            extract(
                epoch FROM %(now)s - min(d.due_at) FILTER (WHERE d.result IS NULL)
            )::float8 AS late_s,
            max(s.failing_since) AS failing_since,
            max(s.disabled_at) AS disabled_at,
            max(s.disabled_why) AS disabled_why
        FROM notice_deliveries d
        JOIN alerts a ON a.id = d.alert_id
        LEFT JOIN channel_states s USING (channel)
        WHERE %(estates)s::integer[] IS NULL
           OR a.estate_id = ANY(%(estates)s)
        GROUP BY d.channel
        ORDER BY d.channel
    """
    values = {"now": now, "estates": None if estates is None else list(estates)}
    with connection.cursor(row_factory=class_row(ChannelCount)) as cursor:
        return cursor.execute(query, values).fetchall()
