"""Latency: real-time paced streams of 100 ms packets at 25, 50 and 80 % of the server's capacity.

    python -m benchmarks.latency [--models DIR] [--config FILE] [--seconds 30] [--burst STREAMS]

Capacity is measured first, by the same clients without pacing. Lag is counted on the audio's clock: from the moment a
result's last sample was sent to the result's arrival. Streams begin, and so end, spread over the length of a recording,
and are counted once all run. The last row is the worst case: all begin within one second, so that all end together;
`--burst` measures it alone, with a number of streams.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.audio import recordings
from benchmarks.load_child import run_in_child
from benchmarks.server_process import RunningServer, server
from client.load import LoadOptions

RECORDING_S = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--max-streams", type=int, default=1024)
    parser.add_argument("--config", type=Path, help="the server's settings, such as rescoring.max_wait_ms")
    parser.add_argument("--burst", type=int, default=0, help="only streams that begin together, so many of them")
    arguments = parser.parse_args()
    audio, seconds = recordings(RECORDING_S), arguments.seconds
    settings = () if arguments.config is None else ("--config", str(arguments.config))
    with server(arguments.models, "--max-streams", str(arguments.max_streams), *settings) as running:
        if arguments.burst:
            _measure(running, "begun within a second", LoadOptions(running.address, arguments.burst, seconds), audio)
            return
        capacity = run_in_child(LoadOptions(running.address, 64, 12.0, pace=0), audio).throughput
        print(f"capacity: {capacity:.1f} real-time streams (100 ms packets, client in the same machine)")
        for share in (0.25, 0.5, 0.8):
            ramp = LoadOptions(running.address, _streams(capacity, share), RECORDING_S + seconds, ramp_s=RECORDING_S)
            _measure(running, f"{share:4.0%}", ramp, audio)
        burst = LoadOptions(running.address, _streams(capacity, 0.8), seconds)
        _measure(running, " 80%, begun within a second", burst, audio)


def _streams(capacity: float, share: float) -> int:
    return max(1, int(capacity * share))


def _measure(running: RunningServer, name: str, options: LoadOptions, audio: list[bytes]) -> None:
    cpu = running.cpu_s()
    report = run_in_child(options, audio)
    cpu = (running.cpu_s() - cpu) / report.audio_s
    print(f"{name} = {options.streams} streams, {report.ends}, server CPU {cpu * 1000:.1f} ms per second of audio")
    for kind, row in report.percentiles().items():
        print(f"  {kind:14s} p50 {row.get('p50')} p95 {row.get('p95')} p99 {row.get('p99')} ms ({row['count']})")


if __name__ == "__main__":
    main()
