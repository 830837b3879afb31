"""Thousands of runs, each from a seed: nothing is lost, doubled or miscounted, and everything comes
to rest. And twenty bugs that must be found.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.estate import Broken, Plan, Run

SEEDS, WITHIN = int(os.environ.get("ANJU_TEST_SEEDS", "2000")), 500
#: Seeds that once broke a promise.
KEPT = (3, 11, 16, 19)


def broken(seed: int) -> str | None:
    """Play a seed; returns what it broke."""
    try:
        Run(seed).play()
    except Broken as error:
        return f"seed {seed}: {error}"
    return None


@pytest.mark.parametrize("seed", [*KEPT, 101, 102])
def test_a_few_seeds(seed: int) -> None:
    assert broken(seed) is None


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_thousand_seeds() -> None:
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        found = [said for said in pool.imap_unordered(broken, range(SEEDS), chunksize=25) if said]
    print(f"{SEEDS} seeds played, from 0")
    assert found == []


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)
    for seed in range(WITHIN):
        said = broken(seed)
        if said:
            print(f"{name}: {said}")
            return
    pytest.fail(f"{name} was not found within {WITHIN} seeds")


def history(seed: int) -> str:
    run = Run(seed).play()
    tables = run.database.tables
    told = (
        run.world.trace,
        run.world.steps,
        sorted(tables.readings.items()),
        sorted(tables.progress.items()),
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()


def test_a_seed_is_one_run() -> None:
    assert history(7) == history(7) != history(8)


def test_trouble_really_happens() -> None:
    """A simulation without misfortune proves nothing: the kinds of trouble, and what they lead to,
    are there.
    """
    plans: list[Plan] = []
    words: set[str] = set()
    dropped = quarantined = duplicates = 0
    for seed in range(30):
        run = Run(seed)
        plans.append(run.trouble)
        run.play()
        words |= {line.split(" ", 1)[1] for line in run.world.trace}
        dropped += run.broker.dropped
        quarantined += len(run.database.tables.quarantine)
        duplicates += sum(tally.duplicates for tally in run.database.tables.tallies.values())
    assert {
        "broker crash",
        "broker stop",
        "database down",
        "gateway killed",
        "database fails at commit",
    } <= words
    assert any("killed" in word and word.startswith("w-") for word in words) and any(
        "frozen" in word for word in words
    )
    assert dropped > 0 and quarantined > 0 and duplicates > 0
