"""What ingest measures can be read as Prometheus reads it, by the names that the runbooks use."""

from __future__ import annotations

from prometheus_client import REGISTRY, generate_latest

from ingest import metrics


def test_every_measure_is_there_and_a_stage_counts_time() -> None:
    with metrics.stage("lane-test", "place"):
        sum(range(200_000))
    taken = REGISTRY.get_sample_value(
        "ingest_stage_cpu_seconds_total", {"lane": "lane-test", "stage": "place"}
    )
    assert taken is not None and taken > 0
    text = generate_latest().decode()
    for name in (
        "items",
        "messages",
        "refused",
        "commit_seconds",
        "lag_seconds",
        "unacknowledged_messages",
        "leases",
        "open_gaps",
        "retries",
        "unavailable",
        "broker_dropped_messages",
    ):
        assert f"# TYPE ingest_{name}" in text, name
