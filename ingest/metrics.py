"""What ingest measures of itself, for Prometheus (`/metrics` on ANJU_METRICS_PORT)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from ingest.account import BatchOutcome

ITEMS = Counter(
    "ingest_items_total", "Values and events by what became of them", ["kind", "outcome"]
)
MESSAGES = Counter("ingest_messages_total", "Messages committed, by lane", ["lane"])
REFUSED = Counter("ingest_refused_total", "What was quarantined, by reason", ["reason"])
COMMIT = Histogram(
    "ingest_commit_seconds",
    "Reading, placing and committing one batch",
    ["lane"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
)
LAG = Gauge(
    "ingest_lag_seconds",
    "Age of the newest message when it was committed, by the gateway's clock",
    ["lane"],
)
UNACKNOWLEDGED = Gauge(
    "ingest_unacknowledged_messages",
    "Messages taken from the broker and not yet acknowledged to it",
    ["lane"],
)
LEASES = Gauge("ingest_leases", "Leases of lanes that this worker holds")
GAPS = Gauge("ingest_open_gaps", "Ranges of numbers that gateways used and never sent")
RETRIES = Counter(
    "ingest_retries_total", "Batches that were undone and tried again, by reason", ["reason"]
)
UNAVAILABLE = Counter(
    "ingest_unavailable_total", "Times that the database or the broker was away", ["service"]
)
BROKER_DROPPED = Gauge(
    "ingest_broker_dropped_messages",
    "Messages that the broker says it has dropped ($SYS, mosquitto)",
)
STAGE = Counter(
    "ingest_stage_cpu_seconds_total",
    "Processor time of a lane's thread by stage",
    ["lane", "stage"],
)


@contextmanager
def stage(lane: str, name: str) -> Iterator[None]:
    """Count the processor time that this thread spends in a stage."""
    began = time.thread_time()
    try:
        yield
    finally:
        STAGE.labels(lane, name).inc(time.thread_time() - began)


def count_outcome(lane: str, outcome: BatchOutcome) -> None:
    """Count what became of a batch."""
    for skew in outcome.skews.values():
        LAG.labels(lane).set(max(0.0, -skew / 1000))
    for key, tally in outcome.tallies.items():
        ITEMS.labels(key.kind, "received").inc(tally.received)
        ITEMS.labels(key.kind, "stored").inc(tally.stored)
        ITEMS.labels(key.kind, "duplicates").inc(tally.duplicates)
        ITEMS.labels(key.kind, "quarantined").inc(tally.quarantined)
    for reason in outcome.reasons:
        REFUSED.labels(reason).inc()
