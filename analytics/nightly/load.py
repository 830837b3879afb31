"""What detectors may know of a block of units, read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from analytics.detectors.contract import Detector
from analytics.history import History
from analytics.nightly.clock import last_whole_day
from analytics.nightly.judge import Inputs
from analytics.unit_frames import cut_after, with_running_day
from store.alerts import alerts
from store.analytics import findings
from store.database.connection import Connection
from store.register import places


def load_inputs(
    connection: Connection,
    history: History,
    *,
    estate_id: int,
    clock: datetime,
    detectors: Sequence[Detector[Any]],
) -> Inputs | None:
    """Read what is known of the units of a history, which reaches to the clock's day.

    The alerts of the units are locked. Returns None where no whole day is known.
    """
    whole_day = last_whole_day(clock, history.zone)
    frame = history.frame(connection, whole_day)
    whole_days = cut_after(frame, whole_day)
    if whole_days is None:
        return None
    units = whole_days.units.tolist()
    detector_keys = [detector.key for detector in detectors]
    return Inputs(
        estate_id=estate_id,
        unit_codes=places.unit_codes(connection, units),
        detectors=detectors,
        whole_days=whole_days,
        with_running_day=with_running_day(frame, clock),
        findings=findings.read_findings(connection, units),
        abstentions=findings.read_abstentions(connection, units),
        alerts=alerts.lock_unit_alerts(connection, units, detector_keys),
    )
