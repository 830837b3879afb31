"""What became of notices, and the browsers that ask to be told by web push."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from api.access import ChannelReader, SessionOwner
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import Principal
from notices.channels import http
from notices.channels.contract import DeliveryFailed
from notices.channels.push import public_key
from notices.rules import PushSettings
from store.notices import deliveries, push_subscriptions

router = APIRouter(prefix="/api/v1", tags=["notices"], route_class=IdempotentRoute)
Base64Url = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+=*$", max_length=200)]


@router.get("/channels", operation_id="listChannels")
def list_channels(context: ChannelReader) -> dict[str, Any]:
    """List the channels that messages went to: what waits and since when, what was sent, dropped and failed, and how each does."""
    return {
        "items": deliveries.count_by_channel(
            context.connection, datetime.now(UTC), context.principal.estate_ids
        )
    }


class Keys(BaseModel):
    """A browser's keys (RFC 8291)."""

    model_config = ConfigDict(extra="forbid")
    p256dh: Base64Url
    auth: Base64Url


class Subscription(BaseModel):
    """A browser's push subscription, as it gives it to the page."""

    model_config = ConfigDict(extra="ignore")
    endpoint: str = Field(max_length=1000, pattern=r"^https?://[^\x00]+$")
    keys: Keys


class Endpoint(BaseModel):
    """The address of a subscription."""

    model_config = ConfigDict(extra="forbid")
    endpoint: str = Field(max_length=1000, pattern=r"^[^\x00]*$")


def _channel(request: Request, principal: Principal) -> PushSettings | None:
    channels = request.app.state.notices.channels.values()
    return next(
        (c for c in channels if isinstance(c, PushSettings) and c.role is principal.role), None
    )


@router.get("/push/key", operation_id="getPushKey")
def key(context: SessionOwner) -> dict[str, Any]:
    """Return the key with which a browser subscribes; null where this site does not tell your role by web push."""
    channel = _channel(context.request, context.principal)
    return {"key": channel and public_key(channel.private_key)}


@router.post("/push/subscriptions", operation_id="subscribe", status_code=204)
def subscribe(context: SessionOwner, body: Subscription) -> None:
    """Tell this browser of what your role's rules say, also when the page is closed."""
    channel = _channel(context.request, context.principal)
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
def unsubscribe(context: SessionOwner, body: Endpoint) -> None:
    """Tell this browser no more."""
    push_subscriptions.unsubscribe(context.connection, context.principal.user_id, body.endpoint)
