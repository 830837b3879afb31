"""Gaps: numbers that a gateway used and that never came.

They are asked for again, and stay on record while they are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import structlog

from domain import sequence, wire
from domain.wire import Down
from ingest import metrics
from store.database.connection import Connection
from store.ingest import progress

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class GapLimits:
    """When gaps are asked for, in seconds."""

    #: A gap is asked for when it has been open for so long.
    after_s: float = 10.0
    again_s: float = 60.0
    #: A gap that is older is not asked for any more; it stays on record.
    give_up_s: float = 24 * 3600.0


def ask_for_gaps(
    connection: Connection, publish: Callable[[str, bytes], object], limits: GapLimits
) -> int:
    """Ask gateways for what has been missing for a while; return how many were asked."""
    with connection.transaction():
        due = progress.take_gaps(
            connection,
            after=timedelta(seconds=limits.after_s),
            again=timedelta(seconds=limits.again_s),
            give_up=timedelta(seconds=limits.give_up_s),
        )
        metrics.GAPS.set(progress.count_gaps(connection))
    for gap in due:
        missing = sequence.first_of(gap.missing)
        request = wire.Backfill(v=wire.VERSION, kind=gap.kind, boot=gap.boot, missing=missing)
        topic = wire.down_topic(gap.estate, gap.gateway, Down.BACKFILL)
        publish(topic, msgspec.json.encode(request))
        log.info(
            "backfill_asked",
            gateway=f"{gap.estate}/{gap.gateway}",
            kind=gap.kind,
            missing=len(missing),
        )
    return len(due)
