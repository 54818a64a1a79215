"""Let the C library keep what is freed: steps take and free megabytes, and mapping them anew costs a tenth of all.

glibc gives large blocks, and what lies free at a heap's end, back to the system, which has to clear and map it again
for the next step (docs/adr/0025-memory-that-is-kept.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
MMAP_THRESHOLD = 32 << 20
"""Bytes; the most that glibc allows. Larger blocks still go back to the system when they are freed."""
TRIM_THRESHOLD = 256 << 20
"""Bytes that lie free at a heap's end before it shrinks."""


def keep_freed_memory() -> bool:
    """Say so to the C library; return whether it took it. Does nothing where the environment has a say in it already.

    Memory stays bounded by what was in use at one time, as before, but is not given back between two peaks.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)) and bool(mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD))
