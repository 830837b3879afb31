"""The `anju notices` commands.

They check the file, try a channel, show what waits, and send again.
"""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from anju.cli.terminal import fail, out
from anju.settings import load_settings
from notices.channels import CHANNELS
from notices.channels.contract import DeliveryFailed, NoticeMessage
from notices.channels.push import public_key
from notices.rules import BadNotices, NoticeRules, PushSettings, TemplateSettings, load_notices
from store.database.connection import connect
from store.notices import channel_states, deliveries
from store.notices.channel_states import ChannelCount

notices_app = typer.Typer(no_args_is_help=True, help="Who is told of what, and what became of it.")
Name = Annotated[str, typer.Argument(help="the channel's name in the file")]


def _load(path: Path | None = None) -> NoticeRules:
    try:
        return load_notices(path or load_settings().notices_file)
    except BadNotices as error:
        raise fail(str(error)) from None


@notices_app.command()
def check(path: Annotated[Path | None, typer.Argument(exists=True, dir_okay=False)] = None) -> None:
    """Read the file (or the one that ANJU_NOTICES_FILE names) and say what it asks for."""
    notices = _load(path)
    table = Table("rule", "channel", "role", "classes", "from", "after", "quiet")
    for rule in notices.rules:
        channel = notices.channels[rule.channel]
        table.add_row(
            rule.name,
            f"{rule.channel} ({channel.kind})",
            channel.role,
            ", ".join(rule.classes),
            rule.min_severity,
            f"{rule.after_s:g} s" if rule.after_s else "at once",
            "–".join(f"{t:%H:%M}" for t in rule.quiet) if rule.quiet else "",
        )
    out.print(table if notices.rules else "no rules: nobody is told anything outside the console")


@notices_app.command()
def test(name: Name) -> None:
    """Send a test message on a channel, now."""
    notices = _load()
    channel = notices.channels.get(name)
    if channel is None:
        raise fail(f"no channel {name!r}; the file has {sorted(notices.channels)}")
    if isinstance(channel, PushSettings):
        raise fail(
            "a push channel has no reader of its own; press the bell on the live page instead"
        )
    text = {
        "zh": "安居测试消息，无需处理。",
        "en": "A test message of Anju; nothing is to be done.",
    }[channel.language]
    now = datetime.now(UTC)
    for recipient in channel.to if isinstance(channel, TemplateSettings) else [""]:
        try:
            CHANNELS[channel.kind](channel).send(
                NoticeMessage(
                    id=f"test_{now.timestamp():.0f}",
                    recipient=recipient,
                    subject=text,
                    body=text,
                    sent_at=now,
                )
            )
        except DeliveryFailed as error:
            raise fail(f"{name}: {error}") from None
    out.print(f"{name} took it")


@notices_app.command()
def status() -> None:
    """Show what each channel has waiting, sent, dropped and failed."""
    with connect(load_settings().conninfo()) as connection:
        counts = channel_states.count_by_channel(connection, datetime.now(UTC))
    table = Table("channel", "waiting", "oldest late", "sent", "dropped", "failed", "state")
    for count in counts:
        late = "" if count.late_s is None else f"{max(0.0, count.late_s):.0f} s"
        table.add_row(
            count.channel,
            str(count.waiting),
            late,
            str(count.sent),
            str(count.dropped),
            str(count.failed),
            _describe_state(count),
        )
    out.print(table)


def _describe_state(count: ChannelCount) -> str:
    if count.disabled_at is not None:
        return f"disabled: {count.disabled_why}"
    return "works" if count.failing_since is None else "failing"


@notices_app.command()
def enable(name: Name) -> None:
    """Use a channel again that was disabled; what waited on it goes out."""
    with connect(load_settings().conninfo()) as connection:
        channel_states.enable(connection, name)
    out.print(f"{name} is used again")


@notices_app.command()
def replay(
    name: Name,
    hours: Annotated[
        float, typer.Option(min=0.01, max=24 * 31, help="what was made in the last hours")
    ] = 24,
    everything: Annotated[
        bool, typer.Option("--all", help="what was taken as well, not only what failed")
    ] = False,
) -> None:
    """Send again, with the same message ids."""
    now = datetime.now(UTC)
    with connect(load_settings().conninfo()) as connection:
        count = deliveries.replay(
            connection, name, now - timedelta(hours=hours), now, failed_only=not everything
        )
    out.print(f"{count} messages will be sent again on {name}")


@notices_app.command()
def vapid() -> None:
    """Make a key for web push.

    Put it into the file as a channel's private_key, by way of a secret.
    """
    while True:
        private = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
        try:
            public = public_key(private)
        except ValueError:
            # Not every 32 bytes are a key of the curve.
            continue
        out.print(f"private_key = {private}\npublic key (browsers ask for it): {public}")
        return
