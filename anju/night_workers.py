"""Who does the nights of many estates: this process, several of this machine, or the workers of a dask cluster.

A job is the night of one estate or of a few, and nothing is shared but the database. A worker that dies takes nothing with it: its
job is begun anew elsewhere, and an estate whose night was over is found to be over. The code is the same wherever it runs, and so are the findings.
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
    from analytics.nightly import Job, RunReport, Spread

#: Seconds that a statement of a night may take.
STATEMENT_S = 3600


class NightEngine(StrEnum):
    """Where nights are run."""

    HERE = "here"
    PROCESSES = "processes"
    DASK = "dask"


class NightEngineError(UserError):
    """A crew that cannot be had, and how to mend it."""


@contextmanager
def crew(
    engine: NightEngine, conninfo: str, *, workers: int = 2, cluster: str | None = None
) -> Iterator[Spread | None]:
    """Open a way to have jobs done; None: here.

    Processes of this machine are told the database's address by `conninfo`. Workers of a cluster know it from their own ANJU_ settings,
    so that no password goes over the network; `cluster` is their scheduler's address, such as tcp://10.1.2.3:8786.
    """
    if engine is NightEngine.HERE:
        with kept_memory():
            yield None
    elif engine is NightEngine.PROCESSES:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield partial(_spread, pool, conninfo)
    else:
        yield from _dask(cluster)


def _dask(cluster: str | None) -> Iterator[Spread]:
    try:
        from distributed import Client
    except ImportError:
        raise NightEngineError(
            "--engine dask: dask is not installed; `pip install anju[cluster]`"
        ) from None
    if not cluster:
        raise NightEngineError(
            "--engine dask: name the scheduler with --cluster, such as --cluster tcp://127.0.0.1:8786"
        )
    try:
        client = Client(cluster, timeout=15)
    except (OSError, ValueError) as error:
        raise NightEngineError(
            f"--cluster {cluster}: no scheduler answers there ({error}); start one with `dask scheduler`"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise NightEngineError(
                f"--cluster {cluster}: has no workers; start some with `dask worker {cluster}`, with ANJU_DSN set"
            )
        # A job is never taken for another that looks the same: each is to be done.
        yield partial(_spread, client.get_executor(pure=False), None)


def _spread(pool: Executor, conninfo: str | None, jobs: Sequence[Job]) -> Iterator[RunReport]:
    futures = [pool.submit(_work, job, conninfo) for job in jobs]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _work(job: Job, conninfo: str | None) -> RunReport:
    """Do a job in a worker, with a connection of its own."""
    if conninfo is None:
        from anju.settings import load_settings

        conninfo = load_settings().conninfo()
    # What a second process read would go through the first one row by row, and the machine's processors have workers already.
    with kept_memory(), connect(conninfo, statement_s=STATEMENT_S, alone=True) as connection:
        return job(connection)
