"""Memory that is freed is kept while columns are worked through, and given back afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from contextlib import nullcontext
import numpy as np
from anju.memory import kept_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    for _ in range(20):
        held = [np.ones(500_000) for _ in range(10)]
        del held

def resident():
    return int(open("/proc/self/statm").read().split()[1])

with kept_memory() if sys.argv[1] == "kept" else nullcontext():
    work()
    before = faults()
    work()
    print(faults() - before)
    most = resident()
print(most - resident())
"""


def run(how: str) -> tuple[int, int]:
    """Return the page faults of a second round of work, and the pages given back at the end."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    return int(done[0]), int(done[1])


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_second_round_takes_no_new_pages_and_the_end_gives_them_back() -> None:
    kept, back = run("kept")
    left, _ = run("left")
    assert kept < 1000 < left and back > 5000
