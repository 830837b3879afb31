"""Exactly once through everything: parts of a real site are killed, stopped, cut off and starved,
and nothing is lost or doubled.

`make faults` plays all seeds; CI plays the first. What each seed did is printed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.faults.site import Site, may_mount

pytestmark = [pytest.mark.real, pytest.mark.long]
KILLS = 44
#: How many seeded runs; `make faults` asks for more.
RUNS = int(os.environ.get("ANJU_TEST_FAULT_RUNS", "1"))


def play(home: Path, seed: int, kills: int, *, small_disk: bool) -> None:
    site = Site(home, seed, small_disk=small_disk)
    try:
        began = time.monotonic()
        faults = site.suffer(kills)
        site.settle()
        counts = site.check()
        took = time.monotonic() - began
        print(
            f"seed {seed}: {faults} faults, {kills} kills in {took:.0f} s, nothing lost or "
            f"doubled: {counts}; {' '.join(site.done)}"
        )
    finally:
        site.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", range(RUNS))
def test_nothing_is_lost_or_doubled_whatever_happens(tmp_path: Path, run: int) -> None:
    play(tmp_path, SEED + run, KILLS, small_disk=False)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", range(max(1, RUNS // 4)))
def test_a_full_disk_among_the_rest(tmp_path: Path, run: int) -> None:
    if not may_mount():
        pytest.skip("a small disk needs root and mount")
    play(tmp_path, SEED + 100 + run, 12, small_disk=True)
