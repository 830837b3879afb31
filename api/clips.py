"""A clip of an alert, for whoever reviews it: a link to the estate's own gateway, signed for some minutes, and on record. No picture passes here."""

from __future__ import annotations

import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from api.access import AlertOperator
from api.alerts import AlertId, find
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
    """Where an estate's gateway gives clips, and the key that it knows."""

    url: str
    key: str


def load_clip_places(path: Path | None) -> dict[str, ClipPlace]:
    """Read the file: a table per estate with `url` and `key`; None gives none.

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
                f"{path.name}: {estate}: url begins with http:// or https://, key has 16 characters or more"
            )
    return places


def clip_of(alert: Alert) -> tuple[str, str] | None:
    """Return the camera and the clip that an alert's evidence names; None where it has none."""
    data = alert.evidence.get("data")
    device = alert.evidence.get("device")
    clip = data.get("clip") if isinstance(data, dict) else None
    return (
        (device, clip)
        if isinstance(device, str) and isinstance(clip, str) and CLIP.fullmatch(clip)
        else None
    )


@router.post("/alerts/{alert_id}/clip", operation_id="askClip")
def ask_clip(context: AlertOperator, alert_id: AlertId) -> dict[str, Any]:
    """Ask for the still and the clip of a camera's alert: links to the estate's gateway that hold for five minutes. Who asked is on record."""
    alert = find(context.connection, context.principal, alert_id)
    found = clip_of(alert)
    if found is None:
        raise Problem(404, "no_clip", "this alert has no clip")
    device, clip = found
    place: ClipPlace | None = context.request.app.state.clips.get(alert.estate)
    if place is None:
        raise Problem(
            409,
            "no_place",
            f"where the clips of {alert.estate!r} are is not set up: ANJU_CLIPS_FILE (docs/vision.md)",
        )
    until = int(time.time()) + LIFE_S
    context.audit.describe(
        AuditFacts(
            subject=f"clip:{alert.estate}/{device}/{clip}",
            estate_id=alert.estate_id,
            reference=f"alert {alert_id}",
        )
    )

    def link(ending: str) -> str:
        signature = sign(place.key.encode(), f"{alert.estate}/{device}/{clip}.{ending}", until)
        return (
            f"{place.url.rstrip('/')}/clips/{device}/{clip}.{ending}?until={until}&sig={signature}"
        )

    return {
        "still": link("jpg"),
        "clip": link("webp"),
        "expires_at": datetime.fromtimestamp(until, UTC),
    }
