"""Who runs the nights of many estates: this process, several of this machine, or a dask cluster.

A job is the night of one estate or of a few, and nothing is shared but the database. A job whose
worker dies is begun anew elsewhere, and an estate whose night was run is not judged again. The code
is the same wherever it runs, and so are the findings.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from anju.memory import kept_memory
from domain.errors import UserError
from store.database.connection import connect

if TYPE_CHECKING:
    from analytics.nightly.estate import RunReport
    from analytics.nightly.run import Job, Spread

#: Seconds that a statement of a night may take.
STATEMENT_S = 3600
#: Seconds to wait for a cluster's scheduler.
_CLUSTER_TIMEOUT_S = 15


class NightEngine(StrEnum):
    """Where nights are run."""

    HERE = "here"
    PROCESSES = "processes"
    DASK = "dask"


class NightEngineError(UserError):
    """Nights cannot be run on an engine; the message says how to mend that."""


@contextmanager
def crew(
    engine: NightEngine, conninfo: str, *, workers: int = 2, cluster: str | None = None
) -> Iterator[Spread | None]:
    """Open an engine and yield the function that does jobs on it; None: they are done here.

    Processes of this machine get the database's address from `conninfo`. Workers of a cluster read
    it from their own ANJU_ settings, so that no password goes over the network. `cluster` is the
    address of their scheduler, such as tcp://10.1.2.3:8786.

    Raises: NightEngineError.
    """
    if engine is NightEngine.HERE:
        with kept_memory():
            yield None
    elif engine is NightEngine.PROCESSES:
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawning) as pool:
            yield partial(_spread, pool, conninfo)
    else:
        yield from _open_cluster(cluster)


def _open_cluster(cluster: str | None) -> Iterator[Spread]:
    try:
        from distributed import Client
    except ImportError:
        raise NightEngineError(
            "--engine dask: dask is not installed; `pip install anju[cluster]`"
        ) from None
    if not cluster:
        raise NightEngineError(
            "--engine dask: name the scheduler with --cluster, "
            "such as --cluster tcp://127.0.0.1:8786"
        )
    try:
        client = Client(cluster, timeout=_CLUSTER_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise NightEngineError(
            f"--cluster {cluster}: no scheduler answers there ({error}); "
            "start one with `dask scheduler`"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise NightEngineError(
                f"--cluster {cluster}: has no workers; "
                f"start some with `dask worker {cluster}`, with ANJU_DSN set"
            )
        # Jobs that look the same are not the same: each has to be done.
        yield partial(_spread, client.get_executor(pure=False), None)


def _spread(pool: Executor, conninfo: str | None, jobs: Sequence[Job]) -> Iterator[RunReport]:
    """Hand jobs to a pool and yield reports as they come; what is left is cancelled."""
    futures = [pool.submit(_do_job, job, conninfo) for job in jobs]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _do_job(job: Job, conninfo: str | None) -> RunReport:
    """Do a job in a worker, with a connection of its own."""
    if conninfo is None:
        from anju.settings import load_settings

        conninfo = load_settings().conninfo()
    # `alone`: the processors of the machine have workers already, so no query is run in parallel.
    with kept_memory(), connect(conninfo, statement_s=STATEMENT_S, alone=True) as connection:
        return job(connection)
