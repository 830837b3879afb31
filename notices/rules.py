"""A site's own file of channels and rules (TOML): who is notified of what, and when.

A channel belongs to a role: nothing goes out on it that this role may not see. Secrets stand in the
environment or in files (`env:NAME`, `file:PATH`), never in the file itself.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from domain.access import CLASSES_OF, Role
from domain.alerting import AlertClass, Severity
from domain.errors import UserError
from domain.ids import ID_PATTERN

#: Steps of an alert's record that people are notified of; a machine (a webhook) gets all.
CALLING_STEPS = ("raised", "recurred", "worsened", "shown_again")


class BadNotices(UserError):
    """The file does not say what it must; the message names the place and the fix."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Channel(_Table):
    role: Role
    language: Literal["zh", "en"] = "zh"
    per_minute: int = Field(60, ge=1, le=6_000, description="messages that it takes in a minute")
    allow_private: bool = Field(False, description="may its address be one of this network's own?")

    @property
    def is_machine(self) -> bool:
        """Whether another system reads the messages, and no person."""
        return False


class EmailSettings(_Channel):
    """E-mail by SMTP (RFC 5321), one message to all its readers."""

    kind: Literal["email"]
    host: str
    port: int = Field(587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = None
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    to: list[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]] = Field(min_length=1)


class BotSettings(_Channel):
    """A group's bot (WeCom, DingTalk, Feishu): the key in its address, and its signing secret."""

    kind: Literal["wecom", "dingtalk", "feishu"]
    key: str
    secret: str | None = None
    url: str | None = Field(
        None, description="its address without the key, where it is not the provider's own"
    )
    per_minute: int = Field(18, ge=1, le=100)


class TemplateSettings(_Channel):
    """SMS or voice by a provider's HTTP interface.

    `{phone}`, `{title}`, `{text}` and `{id}` in the body are replaced.
    """

    kind: Literal["sms", "voice"]
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any]
    form: bool = Field(False, description="send the body as a form and not as JSON")
    ok: dict[str, Any] = Field(
        default_factory=dict, description="fields of a good answer, such as {Code = 'OK'}"
    )
    to: list[str] = Field(min_length=1)


class WebhookSettings(_Channel):
    """Another system: CloudEvents 1.0, signed as Standard Webhooks; it gets every change."""

    kind: Literal["webhook"]
    url: str
    secret: str = Field(description="whsec_… (base64), as Standard Webhooks writes it")
    per_minute: int = Field(600, ge=1, le=6_000)

    @property
    def is_machine(self) -> bool:
        """Whether another system reads the messages, and no person."""
        return True


class PushSettings(_Channel):
    """Web push to the browsers of the role's people who asked for it."""

    kind: Literal["push"]
    private_key: str = Field(description="the site's VAPID key (RFC 8292), as base64url")
    contact: str = Field(pattern=r"^(mailto:|https://)")


class AppriseSettings(_Channel):
    """Any other way that the library apprise knows, by its URL."""

    kind: Literal["apprise"]
    url: str


Channel = Annotated[
    EmailSettings
    | BotSettings
    | TemplateSettings
    | WebhookSettings
    | PushSettings
    | AppriseSettings,
    Field(discriminator="kind"),
]


class NoticeRule(_Table):
    """Which changes go to a channel, and when.

    Several rules of growing `after_s` make an escalation.
    """

    name: str = Field(pattern=ID_PATTERN)
    channel: str
    classes: list[AlertClass] = Field(default_factory=lambda: list(AlertClass), min_length=1)
    min_severity: Severity = Severity.LOW
    estates: list[str] | None = Field(None, description="codes; all where it is not given")
    steps: list[str] | None = Field(
        None, description="steps of an alert's record; those that call, or all for a webhook"
    )
    hours: tuple[time, time] | None = Field(
        None, description="local hours in which this rule is in force, such as ['08:00', '18:00']"
    )
    after_s: float = Field(
        0, ge=0, le=86_400, description="only if it is still unacknowledged so long after"
    )
    repeat_s: float = Field(
        0, ge=0, le=86_400, description="again every so often, until it is acknowledged"
    )
    digest_min: int = Field(
        0, ge=0, le=1_440, description="gathered and sent together every so many minutes"
    )
    quiet: tuple[time, time] | None = Field(
        None, description="local hours in which what can wait waits; a life never does"
    )
    drills: bool = False

    @field_validator("repeat_s")
    @classmethod
    def _not_too_often(cls, seconds: float) -> float:
        if 0 < seconds < 60:
            raise ValueError("repeat at most once a minute: 60 or more")
        return seconds


class NoticeRules(_Table):
    """The whole file."""

    channels: dict[Annotated[str, Field(pattern=ID_PATTERN)], Channel] = Field(default_factory=dict)
    rules: list[NoticeRule] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_rules(self) -> NoticeRules:
        counts = Counter(rule.name for rule in self.rules)
        for rule in self.rules:
            if counts[rule.name] > 1:
                raise ValueError(f"rule {rule.name!r} stands twice; names are their own")
            channel = self.channels.get(rule.channel)
            if channel is None:
                raise ValueError(
                    f"rule {rule.name!r} names the channel {rule.channel!r}, "
                    f"which is none of {sorted(self.channels)}"
                )
            unseen = sorted(set(rule.classes) - CLASSES_OF[channel.role])
            # The default is every class: of those the channel's role gets what it sees.
            if unseen and "classes" in rule.model_fields_set:
                raise ValueError(
                    f"rule {rule.name!r}: "
                    f"the role {channel.role} of its channel does not see {unseen}"
                )
        return self


def load_notices(path: Path | None, environment: Mapping[str, str] = os.environ) -> NoticeRules:
    """Read a site's file; without one nobody is notified outside the console.

    Raises: BadNotices.
    """
    if path is None:
        return NoticeRules()
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        table["channels"] = {
            name: {
                key: _secret(value, f"channels.{name}.{key}", environment)
                for key, value in channel.items()
            }
            for name, channel in table.get("channels", {}).items()
        }
        return NoticeRules.model_validate(table)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise BadNotices(f"{path}: not the TOML that is expected: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadNotices(
            f"{path}: {where}: {str(first['msg']).removeprefix('Value error, ')}"
        ) from None


def _secret(value: Any, where: str, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _secret(inner, f"{where}.{key}", environment) for key, inner in value.items()}
    if not isinstance(value, str):
        return value
    if value.startswith("env:"):
        if value[4:] not in environment:
            raise BadNotices(f"{where}: the environment has no {value[4:]}; set it")
        return environment[value[4:]]
    if value.startswith("file:"):
        try:
            return Path(value[5:]).read_text("utf-8").strip()
        except OSError as error:
            raise BadNotices(f"{where}: {value[5:]} cannot be read: {error.strerror}") from None
    return value
