"""A Chorus server in a child process, as a user would start it, with what it cost, and where children may run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where it listens and its process."""

    address: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor seconds used so far, user and system."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Start children on these cores only; this process, the clients, goes back to where it was."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def server(models: Path | None, *flags: str) -> Iterator[RunningServer]:
    """Start `chorus serve` on a free port and end it at the end."""
    command = [sys.executable, "-m", "server", "serve", "--port", "0", "--log-level", "error", *flags]
    if models is not None:
        command += ["--models", str(models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if "ready on" not in line:
                raise SystemExit(f"the server did not start: {line!r}")
            yield RunningServer(line.split("ready on ")[1].split()[0], psutil.Process(child.pid))
        finally:
            child.terminate()
            child.wait(30)
