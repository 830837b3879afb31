"""What became of notices, and the browsers that ask to be notified by web push."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.access import ChannelReader, SessionOwner
from api.answers import Answer, example
from api.context import RequestContext
from api.idempotency import IdempotentRoute
from api.problems import Problem
from notices.channels import http
from notices.channels.contract import DeliveryFailed
from notices.channels.push import public_key
from notices.rules import PushSettings
from store.notices import channel_states, push_subscriptions

router = APIRouter(prefix="/api/v1", tags=["notices"], route_class=IdempotentRoute)
Base64Url = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+=*$", max_length=200)]


_CHANNEL = {
    "channel": "guards",
    "waiting": 2,
    "sent": 340,
    "dropped": 12,
    "failed": 0,
    "late_s": 3.5,
    "failing_since": None,
    "disabled_at": None,
    "disabled_why": None,
}


class ChannelAnswer(Answer):
    """What became of the messages of one channel, and how it does."""

    model_config = example(_CHANNEL)
    channel: str = Field(description="name of the channel in the site's file")
    waiting: int = Field(description="messages that wait to be sent")
    sent: int = Field(description="messages that were taken")
    dropped: int = Field(description="messages that were not needed any more")
    failed: int = Field(description="messages that were given up")
    late_s: float | None = Field(description="how long the oldest has been due, in seconds")
    failing_since: datetime | None = Field(description="since when it fails; null while it works")
    disabled_at: datetime | None = Field(description="when it was disabled; null while it is used")
    disabled_why: str | None = Field(description="why it was disabled")


class ChannelList(Answer):
    """The channels that messages went to."""

    model_config = example({"items": [_CHANNEL]})
    items: list[ChannelAnswer] = Field(description="channels by name")


@router.get("/channels", operation_id="listChannels")
def list_channels(context: ChannelReader) -> ChannelList:
    """List the channels that messages about your estates went to, and how each does."""
    counts = channel_states.count_by_channel(
        context.connection, datetime.now(UTC), context.principal.estate_ids
    )
    return ChannelList(items=[ChannelAnswer.model_validate(count) for count in counts])


class BrowserKeys(BaseModel):
    """A browser's keys (RFC 8291)."""

    model_config = ConfigDict(extra="forbid")
    p256dh: Base64Url = Field(description="its public key")
    auth: Base64Url = Field(description="its authentication secret")


class PushSubscriptionRequest(BaseModel):
    """A browser's push subscription, as the browser gives it to the page."""

    model_config = ConfigDict(extra="ignore")
    endpoint: str = Field(
        max_length=1000,
        pattern=r"^https?://[^\x00]+$",
        description="its address at the push service",
        examples=["https://push.example/abc"],
    )
    keys: BrowserKeys = Field(description="the keys that messages are encrypted with")


class PushEndpointRequest(BaseModel):
    """The address of a push subscription."""

    model_config = ConfigDict(extra="forbid")
    endpoint: str = Field(
        max_length=1000,
        pattern=r"^[^\x00]*$",
        description="its address at the push service",
        examples=["https://push.example/abc"],
    )


class PushKeyAnswer(Answer):
    """The key with which a browser subscribes."""

    model_config = example({"key": None})
    key: str | None = Field(
        description="base64url of the public key; null if your role has no push channel here"
    )


def _find_push_channel(context: RequestContext) -> PushSettings | None:
    """Find the push channel of the principal's role; None where the site has none."""
    for channel in context.request.app.state.notices.channels.values():
        if isinstance(channel, PushSettings) and channel.role is context.principal.role:
            return channel
    return None


@router.get("/push/key", operation_id="getPushKey")
def get_push_key(context: SessionOwner) -> PushKeyAnswer:
    """Return the key with which a browser subscribes."""
    channel = _find_push_channel(context)
    if channel is None:
        return PushKeyAnswer(key=None)
    return PushKeyAnswer(key=public_key(channel.private_key))


@router.post("/push/subscriptions", operation_id="subscribe", status_code=204)
def subscribe(context: SessionOwner, body: PushSubscriptionRequest) -> None:
    """Notify this browser of what your role's rules say, also when the page is closed."""
    channel = _find_push_channel(context)
    if channel is None:
        raise Problem(
            404, "no_push", f"this site has no push channel for the role {context.principal.role}"
        )
    try:
        http.resolve(body.endpoint, allow_private=channel.allow_private)
    except DeliveryFailed as error:
        raise Problem(422, "bad_endpoint", str(error)) from None
    push_subscriptions.subscribe(
        context.connection, context.principal.user_id, body.endpoint, body.keys.model_dump()
    )


@router.delete("/push/subscriptions", operation_id="unsubscribe", status_code=204)
def unsubscribe(context: SessionOwner, body: PushEndpointRequest) -> None:
    """Notify this browser no more."""
    push_subscriptions.unsubscribe(context.connection, context.principal.user_id, body.endpoint)
