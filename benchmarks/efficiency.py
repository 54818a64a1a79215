"""Engine efficiency: chunks per second of the server at saturation against the bare graph, in one run.

    python -m benchmarks.efficiency [--models DIR] [--streams 32] [--rounds 3]

32 streams send as fast as flow control lets them, over real gRPC, from another process. Rounds are interleaved with
the bare loop at several batch sizes, because the machine's speed drifts. The ratio is against the best bare loop.
On a machine that does other work too, only the ratio of CPU times means something.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.audio import recordings
from benchmarks.bare import chunks_per_second, session
from benchmarks.load_child import run_in_child
from benchmarks.server_process import server
from client.load import LoadOptions
from engines.describe import inspect
from server.discovery import EMBEDDED_DEFAULT
from server.models import embedded_models, find_models, usable_cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, help="one model folder; default: the embedded model")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16, help="the server's largest batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--method", default="CTC_PREFIX_BEAM")
    arguments = parser.parse_args()
    folder = find_models(arguments.models or embedded_models() / EMBEDDED_DEFAULT)[0]
    spec = inspect(folder).streaming
    assert spec is not None, f"{folder} does not stream"
    chunk_s = spec.chunk * spec.subsampling / 100
    threads = usable_cores()
    graph = session(Path(spec.encoder), threads)
    audio = recordings(20.0)
    bare: dict[int, list[float]] = {size: [] for size in (1, 8, arguments.batch)}
    bare_cpu: dict[int, list[float]] = {size: [] for size in bare}
    served: list[float] = []
    served_cpu: list[tuple[float, float]] = []
    config = ("--threads", str(threads), "--max-streams", str(max(256, arguments.streams)))
    with server(arguments.models, *config) as running:
        for _ in range(arguments.rounds):
            for size, rates in bare.items():
                rate, seconds = chunks_per_second(graph, size)
                rates.append(rate)
                bare_cpu[size].append(seconds)
            options = LoadOptions(
                running.address, arguments.streams, arguments.seconds, packet_ms=640, pace=0, method=arguments.method
            )
            cpu = running.cpu_s()
            report = run_in_child(options, audio)
            assert set(report.ends) == {"OK"}, report.ends
            served.append(report.throughput / chunk_s)
            chunks = report.audio_s / chunk_s
            served_cpu.append(((running.cpu_s() - cpu) / chunks, report.cpu_s / chunks))
    print(f"model {folder.name}, chunk {chunk_s * 1000:.0f} ms, {threads} threads, {arguments.method}")
    for size, rates in bare.items():
        print(f"bare, batch {size:2d}: {_spread(rates)} chunks/s = {statistics.median(rates) * chunk_s:.1f} streams")
    print(f"server:         {_spread(served)} chunks/s = {statistics.median(served) * chunk_s:.1f} streams")
    best = max(statistics.median(rates) for rates in bare.values())
    print(f"server / best bare loop: {statistics.median(served) / best:.2f}")
    least = min(statistics.median(row) for row in bare_cpu.values())
    server_s, client_s = (statistics.median(column) for column in zip(*served_cpu, strict=True))
    print(f"CPU per chunk: bare {least * 1e3:.2f} ms, server {server_s * 1e3:.2f} ms, client {client_s * 1e3:.2f} ms")
    print(f"bare / server and client, by CPU: {least / (server_s + client_s):.2f}")


def _spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):7.1f} ({min(rates):.1f}-{max(rates):.1f})"


if __name__ == "__main__":
    main()
