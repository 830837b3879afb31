"""What ingest measures of itself, for Prometheus (`/metrics` on ANJU_METRICS_PORT)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

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
WAITING = Gauge(
    "ingest_unacknowledged_messages",
    "Messages taken from the broker and not yet acknowledged to it",
    ["lane"],
)
SEATS = Gauge("ingest_seats", "Seats that this worker holds")
GAPS = Gauge("ingest_open_gaps", "Ranges of numbers that gateways used and never sent")
RETRIES = Counter(
    "ingest_retries_total", "Batches that were undone and tried again, by reason", ["why"]
)
AWAY = Counter("ingest_away_total", "Times that a neighbour was away", ["who"])
DROPPED = Gauge(
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
