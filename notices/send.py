"""From the outbox to the channels: in order for each alert, within each way's limits, again until it was taken or a day is over.

A message is locked while it is being sent and is "sent" only when that was committed: a sender that is killed leaves it to the next,
with the same id. What a receiver took in the instant before the kill comes to it twice under one id; that is what the id is for.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from notices.channels import CHANNELS
from notices.channels.contract import DeliveryFailed, NoticeChannel, NoticeMessage
from notices.plan import again
from notices.rules import Channel, NoticeRules, WebhookSettings
from store.database.connection import Connection
from store.notices import deliveries, push_subscriptions

log = structlog.get_logger()

#: Waits after a failure, doubling to the last, each with a jitter of a fifth; then until a day has passed.
FIRST_WAIT, LONGEST_WAIT, JITTER = timedelta(seconds=5), timedelta(minutes=5), 0.2
#: A message alone that is refused waits longer each time.
LONGEST_WAIT_ALONE = timedelta(hours=2)
GIVE_UP = timedelta(days=1)
#: A channel that has failed for so long is not used any more until a person enables it.
DISABLE = timedelta(days=3)
#: Messages to people beyond so many at a time go as one that lists them.
BUNDLE_FROM, BUNDLE_LINES = 4, 20
AT_ONCE = 100
MINUTE = timedelta(minutes=1)


class NoticeSender:
    """Sends what is due on every channel. `carriers` are for tests; by default each channel's own."""

    def __init__(
        self,
        notices: NoticeRules,
        *,
        rng: random.Random | None = None,
        carriers: Mapping[str, NoticeChannel] | None = None,
    ) -> None:
        self._notices = notices
        self._rules = {rule.name: rule for rule in notices.rules}
        self._rng = rng or random.Random()  # noqa: S311
        self._carriers = carriers or {
            name: CHANNELS[channel.kind](channel) for name, channel in notices.channels.items()
        }
        self._tries: dict[str, int] = {}

    def run(self, connection: Connection, now: datetime) -> int:
        """Send what is due now on every channel; returns how many messages were taken."""
        return sum(self.run_channel(connection, name, now) for name in self._notices.channels)

    def run_channel(self, connection: Connection, name: str, now: datetime) -> int:
        """Send what is due now on one channel, each message in a transaction of its own; returns how many were taken."""
        channel, sent = self._notices.channels[name], 0
        with connection.transaction():
            deliveries.drop_needless(connection, name, now)
        while True:
            state = deliveries.read_state(connection, name)
            room = channel.per_minute - deliveries.count_sent(connection, name, now, MINUTE)
            blocked = state["blocked_until"] is not None and state["blocked_until"] > now
            if state["disabled_at"] is not None or blocked or room <= 0:
                return sent
            with connection.transaction():
                due = deliveries.take_due(connection, name, now, AT_ONCE)
                if not due:
                    return sent
                together = _together(due, channel, room)
                if self._send(connection, name, together, now):
                    sent += len(together)

    def _send(
        self, connection: Connection, name: str, rows: Sequence[dict[str, Any]], now: datetime
    ) -> bool:
        ids = [row["id"] for row in rows]
        try:
            self._carriers[name].send(_message(rows, now))
        except DeliveryFailed as error:
            self._failed(connection, name, rows, error, now)
            return False
        except (
            Exception
        ) as error:  # a bug with one message must not keep a fire alarm from going out
            log.exception("notice_bug", channel=name, message=rows[0]["message_id"])
            self._failed(connection, name, rows, DeliveryFailed(f"a bug: {error!r}"), now)
            return False
        deliveries.finish(connection, ids, "sent", now)
        deliveries.note_worked(connection, name)
        self._tries.pop(name, None)
        for row in rows:
            rule = self._rules.get(row["rule"])
            if rule is not None and rule.repeat_s:
                deliveries.add_deliveries(connection, [again(row, rule, now)])
        return True

    def _failed(
        self,
        connection: Connection,
        name: str,
        rows: Sequence[dict[str, Any]],
        error: DeliveryFailed,
        now: datetime,
    ) -> None:
        log.warning(
            "notice_failed",
            channel=name,
            message=rows[0]["message_id"],
            why=str(error),
            messages=len(rows),
        )
        if error.gone:
            deliveries.note_failing(connection, name, now, None)
            deliveries.disable(connection, name, now, str(error))
            return
        if error.recipient_gone:
            push_subscriptions.forget(connection, rows[0]["recipient"])
        over = [row["id"] for row in rows if error.recipient_gone or now - row["made_at"] > GIVE_UP]
        if over:
            deliveries.finish(connection, over, "failed", now, str(error))
        rest = [row for row in rows if row["id"] not in over]
        if error.hold is None:
            for row in rest:
                wait = self._wait(row["attempts"], LONGEST_WAIT_ALONE)
                deliveries.put_off(connection, [row["id"]], now + wait, str(error))
            return
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        until = now + max(error.hold, self._wait(tries - 1, LONGEST_WAIT))
        deliveries.put_off(connection, [row["id"] for row in rest], until, str(error))
        since = deliveries.note_failing(connection, name, now, until)
        if now - since > DISABLE:
            deliveries.disable(
                connection,
                name,
                now,
                f"failing since {since.isoformat(timespec='minutes')}: {error}",
            )

    def _wait(self, tries: int, longest: timedelta) -> timedelta:
        wait: timedelta = min(FIRST_WAIT * 2 ** min(tries, 20), longest)
        return wait * (1 + self._rng.uniform(-JITTER, JITTER))


def _together(
    due: Sequence[dict[str, Any]], channel: Channel, room: int
) -> Sequence[dict[str, Any]]:
    """Say which messages go as one: the next by itself, or all that a person would otherwise drown in.

    To a machine each goes by itself. To people what is urgent does too, as long as the way has room for each of them.
    """
    first = due[0]
    if isinstance(channel, WebhookSettings):
        return [first]
    same = [
        row
        for row in due
        if row["recipient"] == first["recipient"] and row["urgent"] == first["urgent"]
    ]
    if (first["urgent"] and room >= len(same)) or len(same) < BUNDLE_FROM:
        return [first]
    if first["urgent"] and room > 1:
        return [first]
    return same


def _message(rows: Sequence[dict[str, Any]], now: datetime) -> NoticeMessage:
    first = rows[0]
    subject, body = first["subject"], first["body"]
    if len(rows) > 1:
        subject = f"{first['subject']} (+{len(rows) - 1})"
        lines = [f"· {row['subject']}" for row in rows[:BUNDLE_LINES]]
        body = "\n".join(lines + (["…"] if len(rows) > BUNDLE_LINES else []))
    return NoticeMessage(
        id=first["message_id"],
        recipient=first["recipient"],
        subject=subject,
        body=body,
        sent_at=now,
        urgent=first["urgent"],
    )
