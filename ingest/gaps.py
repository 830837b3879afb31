"""Gaps: numbers that a gateway used and that never came are asked for again, and stay on record while they are missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import structlog

from domain import sequence, wire
from domain.wire import Down
from ingest import metrics
from store.database.connection import Connection
from store.ingest import progress

log = structlog.get_logger()


def ask_for_gaps(
    connection: Connection,
    publish: Callable[[str, bytes], object],
    *,
    after_s: float,
    again_s: float,
    give_up_s: float,
) -> int:
    """Ask gateways for what has been missing for a while; returns how many were asked."""
    with connection.transaction():
        due = progress.take_gaps(
            connection,
            after=timedelta(seconds=after_s),
            again=timedelta(seconds=again_s),
            give_up=timedelta(seconds=give_up_s),
        )
        metrics.GAPS.set(progress.count_gaps(connection))
    for gap in due:
        missing = sequence.first_of(gap.missing)
        ask = wire.Backfill(v=wire.VERSION, kind=gap.kind, boot=gap.boot, missing=missing)
        publish(wire.down_topic(gap.estate, gap.gateway, Down.BACKFILL), msgspec.json.encode(ask))
        log.info(
            "backfill_asked",
            gateway=f"{gap.estate}/{gap.gateway}",
            kind=gap.kind,
            missing=len(missing),
        )
    return len(due)
