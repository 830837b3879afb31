"""Memory that a process keeps while it works through columns."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

#: Parameters of mallopt(3), from glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
#: Bytes: a greater piece is mapped for itself (glibc allows no more than this), and so much that is
#: free is kept.
_MAPPED_FROM = 32 << 20
_KEPT = 1 << 30


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed for the next array, and give it back at the end.

    Left to itself glibc returns every large array to the system and maps the next one anew, page by
    page: a third of the time that detectors take, and more where the machine is busy. The limits
    are the process's, and stay; where the C library has none, nothing is done.
    """
    libc = ctypes.CDLL(None)
    known = hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")
    if known:
        libc.mallopt(_MMAP_THRESHOLD, _MAPPED_FROM)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        if known:
            libc.malloc_trim(0)
