"""Nights by several workers: the same findings wherever they are run, once each, and none is lost
with a worker that is killed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from analytics.nightly import run as nightly
from analytics.nightly.clock import night_clock
from analytics.nightly.estate import NightRules
from analytics.nightly.run import run_all
from analytics.policy import load_policy
from anju.bench.filled_estates import ZONE, fill_estate
from anju.night_workers import NightEngine, NightEngineError, crew
from store.database.connection import Connection, connect

pytestmark = pytest.mark.real
TODAY = date(2026, 3, 1)
CLOCK: datetime = night_clock(TODAY, ZONE).astimezone(UTC)
RULES = NightRules(policy=load_policy(), meter_bounds={})
ESTATES, HOMES = 4, 100


@pytest.fixture
def filled(dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    # Otherwise so few homes are one job.
    monkeypatch.setattr(nightly, "UNITS_PER_BATCH", HOMES)
    with connect(dsn) as connection:
        for number in range(ESTATES):
            fill_estate(dsn, connection, number, HOMES, TODAY)
        connection.execute("CREATE TABLE kept_spans AS TABLE dirty_spans")
        connection.execute(
            "CREATE TABLE kept_days AS SELECT * FROM unit_days WHERE day > %s::date - 30", [TODAY]
        )
    return dsn


def said(connection: Connection) -> list[Any]:
    """What stands after a night, without the numbers that rows happen to have."""
    return [
        connection.execute(query).fetchall()  # type: ignore[call-overload]
        for query in (
            "SELECT detector, version, params_digest, unit_id, since_at, until_at, score, reasons, "
            "evidence, found_at, raised_at FROM findings "
            "ORDER BY unit_id, detector, since_at, reasons",
            "SELECT detector, unit_id, from_day, to_day, reason, found_at FROM abstentions "
            "ORDER BY unit_id, detector, from_day, reason",
            "SELECT detector, subject_id, condition, raised_at, ended_at FROM alerts "
            "ORDER BY subject_id, detector, raised_at",
            "SELECT * FROM judged_days ORDER BY estate_id",
            "SELECT unit_id, day, water_l, energy_kwh, water_last_use_at FROM unit_days "
            "WHERE day >= '2026-02-28' ORDER BY unit_id, day",
        )
    ]


def forget(connection: Connection) -> None:
    """Take the night back, facts of its day and all, so that it can be run again."""
    connection.execute("TRUNCATE findings, abstentions, alerts CASCADE")
    connection.execute("DELETE FROM unit_days WHERE day > %s::date - 30", [TODAY])
    connection.execute("INSERT INTO unit_days SELECT * FROM kept_days")
    connection.execute(
        "INSERT INTO dirty_spans (estate_id, devices, from_ms, to_ms, received_at) "
        "SELECT estate_id, devices, from_ms, to_ms, received_at FROM kept_spans"
    )
    connection.execute(
        "UPDATE judged_days SET day = %s, clock_at = %s",
        [TODAY, night_clock(date(2026, 2, 28), ZONE)],
    )
    connection.commit()


def run(dsn: str, engine: NightEngine, jobs: int = ESTATES, **more: Any) -> list[Any]:
    with connect(dsn) as connection, crew(engine, dsn, **more) as spread:
        seen: list[tuple[int, int]] = []
        report = run_all(
            connection,
            RULES,
            CLOCK,
            spread=spread,
            progress=lambda done, of: seen.append((done, of)),
        )
        each = ESTATES // jobs
        assert report.units == ESTATES * HOMES and seen == [
            (each * (n + 1), ESTATES) for n in range(jobs)
        ]
        # Run again at once, nothing is done twice.
        assert run_all(connection, RULES, CLOCK, spread=spread).units == 0
        found = said(connection)
        forget(connection)
    return found


@pytest.fixture
def cluster(filled: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    distributed = pytest.importorskip(
        "distributed", reason="dask is not installed: pip install anju[cluster]"
    )
    monkeypatch.setenv("ANJU_DSN", filled)
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as local:
        yield local


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_findings_are_the_same_wherever_nights_are_run(
    filled: str, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = run(filled, NightEngine.HERE)
    assert len(here[0]) > 10 and len(here[3]) == ESTATES and len(here[4]) > ESTATES * HOMES
    assert run(filled, NightEngine.PROCESSES, workers=2) == here
    assert run(filled, NightEngine.DASK, cluster=cluster.scheduler_address) == here
    monkeypatch.setattr(nightly, "UNITS_PER_BATCH", 2 * HOMES)
    assert run(filled, NightEngine.HERE, jobs=2) == here


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_worker_that_is_killed_takes_nothing_with_it(filled: str, cluster: Any) -> None:
    here = run(filled, NightEngine.HERE)
    pids = [worker.pid for worker in cluster.workers.values()]

    def kill() -> None:
        time.sleep(0.3)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert run(filled, NightEngine.DASK, cluster=cluster.scheduler_address) == here
    killer.join()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_cluster_that_cannot_be_had_says_how_to_have_one() -> None:
    pytest.importorskip("distributed", reason="dask is not installed: pip install anju[cluster]")
    with (
        pytest.raises(NightEngineError, match="name the scheduler with --cluster"),
        crew(NightEngine.DASK, ""),
    ):
        pass
    with (
        pytest.raises(NightEngineError, match="no scheduler answers there"),
        crew(NightEngine.DASK, "", cluster="tcp://127.0.0.1:9"),
    ):
        pass
