"""The C library keeps what it frees, unless the environment says otherwise; asked in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Twenty blocks of 4 MiB taken together and given back, twice: how many pages had to be mapped anew the second time.
PROGRAM = """
import resource, sys
import numpy as np
from server.allocator import keep_freed_memory
taken = keep_freed_memory() if sys.argv[1] == "keep" else None
def use():
    [np.ones(1 << 20, np.float32) for _ in range(20)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(how: str, **environment: str) -> tuple[str, int]:
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], env=environment, capture_output=True, text=True, check=True, timeout=60
    )  # fmt: skip
    taken, faults = out.stdout.split()
    return taken, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_freed_memory_is_kept() -> None:
    taken, faults = run("keep")
    if taken == "False":
        pytest.skip("the C library has no mallopt")
    _, without = run("leave")
    assert faults < without / 4


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_the_environment_wins(name: str) -> None:
    value = "glibc.malloc.arena_max=2" if name == "GLIBC_TUNABLES" else "1000000"
    assert run("keep", **{name: value})[0] == "False"
