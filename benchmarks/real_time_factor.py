"""Real-time factor: one stream as fast as it goes, 10 s recordings, against a server that has one processor.

    python -m benchmarks.real_time_factor [--models DIR] [--seconds 20] [--rounds 3]

Seconds that the server takes for a second of audio, wall clock, gRPC and second pass included; the client has the other
processors. What paced streams cost, wake-ups between packets included, is `benchmarks.latency --burst 1`.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

from benchmarks.audio import recordings
from benchmarks.load_child import run_in_child
from benchmarks.server_process import pinned, server
from client.load import LoadOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    audio, (core, *others) = recordings(), sorted(os.sched_getaffinity(0))
    with pinned({core}), server(arguments.models) as running, pinned(set(others) or {core}):
        options = LoadOptions(running.address, 1, arguments.seconds, pace=0)
        factors = [1 / run_in_child(options, audio).throughput for _ in range(arguments.rounds)]
    print(f"real-time factor {statistics.median(factors):.4f} ({min(factors):.4f}-{max(factors):.4f})")


if __name__ == "__main__":
    main()
