"""From the outbox to the channels: in order, within limits, again until it was taken.

A message is locked while it is being sent, and counts as sent only when that was committed. A
sender that is killed leaves it to the next one, under the same id. So a receiver may get what it
took in the instant before the kill a second time, and can tell by the id.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from notices.channels import CHANNELS
from notices.channels.contract import DeliveryFailed, NoticeChannel, NoticeMessage
from notices.plan import repeat_message
from notices.rules import Channel, NoticeRules
from store.database.connection import Connection
from store.notices import channel_states, deliveries, push_subscriptions
from store.notices.deliveries import Delivery, DeliveryResult

log = structlog.get_logger()

#: Waits after a failure double from the first to the longest, each with a jitter of a fifth.
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=5)
JITTER = 0.2
#: A message that was refused by itself waits longer each time.
LONGEST_WAIT_ALONE = timedelta(hours=2)
#: A message that was not taken for so long has failed.
GIVE_UP = timedelta(days=1)
#: A channel that has failed for so long is not used any more until a person enables it.
DISABLE = timedelta(days=3)
#: So many messages or more to one person go as one that lists them, up to so many lines.
BUNDLE_FROM = 4
BUNDLE_LINES = 20
#: Messages that are locked at a time.
AT_ONCE = 100
MINUTE = timedelta(minutes=1)


class NoticeSender:
    """Sends what is due on every channel.

    `carriers` take the place of the channels' own ones in tests.
    """

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
        self._failures: dict[str, int] = {}

    def run(self, connection: Connection, now: datetime) -> int:
        """Send what is due now on every channel; returns how many messages were taken."""
        return sum(self.run_channel(connection, name, now) for name in self._notices.channels)

    def run_channel(self, connection: Connection, name: str, now: datetime) -> int:
        """Send what is due now on one channel; returns how many messages were taken.

        Each message, or bundle of them, has a transaction of its own.
        """
        channel = self._notices.channels[name]
        sent = 0
        with connection.transaction():
            deliveries.drop_needless(connection, name, now)
        while channel_states.read_state(connection, name).takes_messages(now):
            room = channel.per_minute - deliveries.count_sent(connection, name, now, MINUTE)
            if room <= 0:
                break
            with connection.transaction():
                due = deliveries.take_due(connection, name, now, AT_ONCE)
                if not due:
                    break
                bundle = _choose_bundle(due, channel, room)
                if self._send(connection, name, bundle, now):
                    sent += len(bundle)
        return sent

    def _send(
        self, connection: Connection, name: str, bundle: Sequence[Delivery], now: datetime
    ) -> bool:
        """Send messages as one; returns whether they were taken."""
        try:
            self._carriers[name].send(_write_message(bundle, now))
        except DeliveryFailed as error:
            self._note_failure(connection, name, bundle, error, now)
            return False
        except Exception as error:
            # A bug with one message must not hold up a fire alarm.
            log.exception("notice_bug", channel=name, message=bundle[0].message_id)
            failure = DeliveryFailed(f"a bug: {error!r}")
            self._note_failure(connection, name, bundle, failure, now)
            return False
        sent_ids = [message.id for message in bundle]
        deliveries.finish(connection, sent_ids, DeliveryResult.SENT, now)
        channel_states.note_worked(connection, name)
        self._failures.pop(name, None)
        self._plan_repeats(connection, bundle, now)
        return True

    def _plan_repeats(
        self, connection: Connection, sent: Sequence[Delivery], now: datetime
    ) -> None:
        for message in sent:
            rule = self._rules.get(message.rule)
            if rule is not None and rule.repeat_s:
                deliveries.add_deliveries(connection, [repeat_message(message, rule, now)])

    def _note_failure(
        self,
        connection: Connection,
        name: str,
        bundle: Sequence[Delivery],
        error: DeliveryFailed,
        now: datetime,
    ) -> None:
        """Give up messages, put them off, or stop using the channel, as the failure demands."""
        log.warning(
            "notice_failed",
            channel=name,
            message=bundle[0].message_id,
            why=str(error),
            messages=len(bundle),
        )
        if error.gone:
            channel_states.note_failing(connection, name, now, None)
            channel_states.disable(connection, name, now, str(error))
            return
        if error.recipient_gone:
            push_subscriptions.forget(connection, bundle[0].recipient)
        hopeless = [
            message.id
            for message in bundle
            if error.recipient_gone or now - message.made_at > GIVE_UP
        ]
        if hopeless:
            deliveries.finish(connection, hopeless, DeliveryResult.FAILED, now, str(error))
        remaining = [message for message in bundle if message.id not in hopeless]
        if error.hold is None:
            self._put_off_alone(connection, remaining, error, now)
        else:
            self._block_channel(connection, name, remaining, error, now)

    def _put_off_alone(
        self,
        connection: Connection,
        messages: Sequence[Delivery],
        error: DeliveryFailed,
        now: datetime,
    ) -> None:
        """Put off messages that were refused by themselves; the channel goes on."""
        for message in messages:
            wait = self._wait(message.attempts, LONGEST_WAIT_ALONE)
            deliveries.put_off(connection, [message.id], now + wait, str(error))

    def _block_channel(
        self,
        connection: Connection,
        name: str,
        messages: Sequence[Delivery],
        error: DeliveryFailed,
        now: datetime,
    ) -> None:
        """Send nothing on a channel for a while; after days of that, disable it."""
        assert error.hold is not None
        earlier_failures = self._failures.get(name, 0)
        self._failures[name] = earlier_failures + 1
        until = now + max(error.hold, self._wait(earlier_failures, LONGEST_WAIT))
        deliveries.put_off(connection, [message.id for message in messages], until, str(error))
        since = channel_states.note_failing(connection, name, now, until)
        if now - since > DISABLE:
            why = f"failing since {since.isoformat(timespec='minutes')}: {error}"
            channel_states.disable(connection, name, now, why)

    def _wait(self, earlier_failures: int, longest: timedelta) -> timedelta:
        wait: timedelta = min(FIRST_WAIT * 2 ** min(earlier_failures, 20), longest)
        return wait * (1 + self._rng.uniform(-JITTER, JITTER))


def _choose_bundle(due: Sequence[Delivery], channel: Channel, room: int) -> Sequence[Delivery]:
    """Choose the messages that go next as one: the first by itself, or all to the same person.

    To a machine each goes by itself. To a person an urgent one does while the channel has room for
    more than one; others do unless there are many.
    """
    first = due[0]
    if channel.is_machine:
        return [first]
    same = [
        message
        for message in due
        if message.recipient == first.recipient and message.urgent == first.urgent
    ]
    if len(same) < BUNDLE_FROM:
        return [first]
    if first.urgent and room > 1:
        return [first]
    return same


def _write_message(bundle: Sequence[Delivery], now: datetime) -> NoticeMessage:
    """Write the message that carries a bundle."""
    first = bundle[0]
    subject = first.subject
    body = first.body
    if len(bundle) > 1:
        subject = f"{first.subject} (+{len(bundle) - 1})"
        lines = [f"· {message.subject}" for message in bundle[:BUNDLE_LINES]]
        if len(bundle) > BUNDLE_LINES:
            lines.append("…")
        body = "\n".join(lines)
    return NoticeMessage(
        id=first.message_id,
        recipient=first.recipient,
        subject=subject,
        body=body,
        sent_at=now,
        urgent=first.urgent,
    )
