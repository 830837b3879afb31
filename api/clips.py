"""The clip of a camera's alert, for who reviews it: a signed link to the estate's own gateway.

The link holds for some minutes, and who asked for it is on record. No picture passes here.
"""

from __future__ import annotations

import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fastapi import APIRouter
from pydantic import Field

from api.access import AlertOperator
from api.alerts import AlertId, find
from api.answers import Answer
from api.context import AuditFacts
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.clips import CLIP, LIFE_S, sign
from domain.errors import UserError
from store.alerts.alerts import Alert

router = APIRouter(prefix="/api/v1", tags=["alerts"], route_class=IdempotentRoute)


class BadClipPlaces(UserError):
    """The file that says where clips are cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlace:
    """Where an estate's gateway serves clips, and the key that it shares with us."""

    url: str
    key: str

    def link(self, estate: str, device: str, file_name: str, until: int) -> str:
        """Return the link to a file of a camera, signed until a time (seconds since 1970)."""
        signature = sign(self.key.encode(), f"{estate}/{device}/{file_name}", until)
        place = f"{self.url.rstrip('/')}/clips/{device}/{file_name}"
        return f"{place}?until={until}&sig={signature}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClip:
    """A clip that an alert's evidence names, by its camera's code and its own name."""

    device: str
    name: str


class ClipLinks(Answer):
    """Links to the still and the clip of an alert, on the estate's gateway."""

    still: str = Field(
        description="a JPEG", examples=["https://gw.example/clips/cam-1/a1b2.jpg?until=…&sig=…"]
    )
    clip: str = Field(
        description="an animated WebP",
        examples=["https://gw.example/clips/cam-1/a1b2.webp?until=…&sig=…"],
    )
    expires_at: datetime = Field(
        description="the links hold until then", examples=["2026-11-18T08:17:00Z"]
    )


def load_clip_places(path: Path | None) -> dict[str, ClipPlace]:
    """Read the file, which has a table with `url` and `key` for each estate; None gives none.

    Raises: BadClipPlaces.
    """
    if path is None:
        return {}
    try:
        places = {
            estate: ClipPlace(**entry)
            for estate, entry in tomllib.loads(path.read_text("utf-8")).items()
        }
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise BadClipPlaces(f"{path.name}: {error}; write [estate], url and key") from None
    for estate, place in places.items():
        if not place.url.startswith(("http://", "https://")) or len(place.key) < 16:
            raise BadClipPlaces(
                f"{path.name}: {estate}: url begins with http:// or https://, "
                "key has 16 characters or more"
            )
    return places


def clip_of(alert: Alert) -> AlertClip | None:
    """Return the clip that an alert's evidence names; None where it names none."""
    data = alert.evidence.get("data")
    device = alert.evidence.get("device")
    name = data.get("clip") if isinstance(data, dict) else None
    if not isinstance(device, str) or not isinstance(name, str) or not CLIP.fullmatch(name):
        return None
    return AlertClip(device=device, name=name)


@router.post("/alerts/{alert_id}/clip", operation_id="askClip")
def ask_clip(context: AlertOperator, alert_id: AlertId) -> ClipLinks:
    """Ask for the still and the clip of a camera's alert.

    The links lead to the estate's gateway and hold for five minutes. Who asked is on record.
    """
    alert = find(context.connection, context.principal, alert_id)
    clip = clip_of(alert)
    if clip is None:
        raise Problem(404, "no_clip", "this alert has no clip")
    place: ClipPlace | None = context.request.app.state.clips.get(alert.estate)
    if place is None:
        raise Problem(
            409,
            "no_place",
            f"where the clips of {alert.estate!r} are is not set up: "
            "ANJU_CLIPS_FILE (docs/vision.md)",
        )
    context.audit.describe(
        AuditFacts(
            subject=f"clip:{alert.estate}/{clip.device}/{clip.name}",
            estate_id=alert.estate_id,
            reference=f"alert {alert_id}",
        )
    )
    until = int(time.time()) + LIFE_S
    return ClipLinks(
        still=place.link(alert.estate, clip.device, f"{clip.name}.jpg", until),
        clip=place.link(alert.estate, clip.device, f"{clip.name}.webp", until),
        expires_at=datetime.fromtimestamp(until, UTC),
    )
