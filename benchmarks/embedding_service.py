"""Speaker vectors over gRPC at saturation against the bare network on as many threads, in one run.

    python -m benchmarks.embedding_service [--models campplus] [--seconds 3] [--rounds 3] [--concurrency 8]

The bare network is the graph in ONNX Runtime, and what the server runs, where that is another one (compiled kernels).
Rounds are interleaved, because the speed of machines drifts. Two ratios to each are printed: of throughput by the wall
clock, which means something on an idle machine, and of processor time per vector (the process of the server against the
bare loop), which neighbours hardly move. Then latency, one request at a time and at 80 % of the measured throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from benchmarks.audio import recordings
from client.embedded import EmbeddedServer
from engines.ort import OrtOptions
from engines.pull.store import ensure
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import SpeakerEngine, open_speaker
from protos import recognizer_pb2 as linear16
from protos import speaker_pb2 as pb
from server.models import usable_cores


@dataclass(frozen=True)
class Speed:
    """Vectors per second, and processor milliseconds per vector."""

    rate: float
    cpu_ms: float


def bare(engine: SpeakerEngine, features: np.ndarray, threads: int, seconds: float) -> Speed:
    """The network alone, batch 1, on `threads` threads at once: no features, no queue, no wire."""
    counts = [0] * threads
    end = time.monotonic() + seconds
    before, begin = time.process_time(), time.monotonic()

    def loop(index: int) -> None:
        while time.monotonic() < end:
            engine.embed([features])
            counts[index] += 1

    workers = [threading.Thread(target=loop, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return Speed(sum(counts) / (time.monotonic() - begin), 1000 * (time.process_time() - before) / sum(counts))


async def served(
    address: str, process: psutil.Process, requests: list[bytes], concurrency: int, seconds: float
) -> Speed:
    """As many requests at once as asked for, each caller's next one as soon as the last is answered."""
    done = 0
    async with calling(address) as embed:
        await embed(requests[0])
        before, begin = cpu_s(process), time.monotonic()

        async def caller(index: int) -> None:
            nonlocal done
            while time.monotonic() < begin + seconds:
                await embed(requests[index % len(requests)])
                done += 1

        await asyncio.gather(*(caller(index) for index in range(concurrency)))
        return Speed(done / (time.monotonic() - begin), 1000 * (cpu_s(process) - before) / done)


async def alone(address: str, requests: list[bytes], seconds: float) -> list[float]:
    """Milliseconds of requests one after the other."""
    found, end = [], time.monotonic() + seconds
    async with calling(address) as embed:
        while (begin := time.monotonic()) < end:
            await embed(requests[len(found) % len(requests)])
            found.append(1000 * (time.monotonic() - begin))
    return found


async def loaded(address: str, requests: list[bytes], arrivals: np.ndarray) -> list[float]:
    """Milliseconds of requests that come at given seconds, whether or not the ones before are answered."""
    found: list[float] = []
    async with calling(address) as embed, asyncio.TaskGroup() as group:
        start = time.monotonic()

        async def one(due: float, request: bytes) -> None:
            await embed(request)
            found.append(1000 * (time.monotonic() - due))  # from when it was due: a late start is waiting, too

        for index, seconds in enumerate(arrivals):
            await asyncio.sleep(max(0.0, start + seconds - time.monotonic()))
            group.create_task(one(start + seconds, requests[index % len(requests)]))
    return found


def ideal(arrivals: np.ndarray, service_s: float, workers: int) -> list[float]:
    """Milliseconds in a queue without any overhead, whose `workers` take exactly `service_s` for each request."""
    free, found = np.zeros(workers), []
    for arrival in arrivals:
        first = int(np.argmin(free))
        free[first] = max(free[first], arrival) + service_s
        found.append(1000 * (free[first] - arrival))
    return found


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """Embed with messages made before, whose answers nobody reads: the callers' own work hardly counts."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel.unary_unary("/chorus.v1.Speaker/Embed")


def messages(recordings: list[bytes]) -> list[bytes]:
    """Requests for LINEAR16 recordings."""
    config = pb.SpeakerAudioConfig(encoding=linear16.LINEAR16, sample_rate_hertz=16000)
    return [pb.EmbedRequest(config=config, audio=each).SerializeToString() for each in recordings]


def cpu_s(process: psutil.Process) -> float:
    """Processor seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="campplus", help="a name, or the folder of one speaker model")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each recording")
    parser.add_argument("--round-seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=8)
    arguments = parser.parse_args()
    threads = usable_cores()
    threadpool_limits(1, user_api="blas")  # as the server does
    folder = ensure(arguments.models, print)
    description = inspect_speaker(folder)
    engine = open_speaker(description, OrtOptions(rewrite=False), max_batch=1)
    bares = {"bare graph in ONNX Runtime": engine}
    own = open_speaker(description, max_batch=1)
    if own.network != engine.network:
        bares[f"bare network, {own.network}"] = own
    audio = recordings(arguments.seconds)
    requests = messages(audio)
    samples = np.frombuffer(audio[0], "<i2").astype(np.float32) / 32768
    features = engine.features(samples)
    front_ms = _cpu_ms(lambda: engine.features(samples))
    loops: dict[str, list[Speed]] = {name: [] for name in bares}
    calls: list[Speed] = []
    with EmbeddedServer(str(folder), arguments=["--gallery", ":memory:", "--log-level", "error"]) as server:
        process = psutil.Process(server.pid)
        for _ in range(arguments.rounds):
            for name, each in bares.items():
                loops[name].append(bare(each, features, threads, arguments.round_seconds))
            work = served(server.address, process, requests, arguments.concurrency, arguments.round_seconds)
            calls.append(asyncio.run(work))
        rate = 0.8 * statistics.median(each.rate for each in calls)
        one = statistics.median(asyncio.run(alone(server.address, requests, arguments.round_seconds)))
        count = int(rate * 3 * arguments.round_seconds)
        arrivals = {
            "evenly": np.arange(count) / rate,
            "at random": np.cumsum(np.random.default_rng(0).exponential(1 / rate, count)),
        }
        waits = {name: asyncio.run(loaded(server.address, requests, due)) for name, due in arrivals.items()}
    print(f"{folder.name}, {arguments.seconds:g} s ({len(features)} frames), {threads} threads")
    for name, speeds in loops.items():
        _print(name, speeds)
    _print(f"Embed, {arguments.concurrency} at once", calls)
    print(f"features alone: {front_ms:.2f} ms of processor time")
    for name, speeds in loops.items():
        walls = statistics.median(call.rate / loop.rate for call, loop in zip(calls, speeds, strict=True))
        costs = statistics.median(loop.cpu_ms / call.cpu_ms for call, loop in zip(calls, speeds, strict=True))
        print(f"service / {name}: {walls:.2f} by the wall clock, {costs:.2f} by processor time")
    print(f"one at a time: {one:.0f} ms")
    for name, found in waits.items():
        p50, p99 = np.percentile(found, [50, 99])
        least = np.percentile(ideal(arrivals[name], 0.8 * threads / rate, threads), 99)
        print(
            f"80 % load, requests come {name}: p50 {p50:.0f} ms, p99 {p99:.0f} ms = {p99 / one:.1f} times "
            f"(an ideal queue of {threads} workers: p99 {least:.0f} ms)"
        )


def _cpu_ms(work: Callable[[], object], repeats: int = 20) -> float:
    work()
    begin = time.thread_time()
    for _ in range(repeats):
        work()
    return 1000 * (time.thread_time() - begin) / repeats


def _print(name: str, speeds: list[Speed]) -> None:
    rates, costs = [each.rate for each in speeds], [each.cpu_ms for each in speeds]
    print(
        f"{name}: {statistics.median(rates):.1f} ({min(rates):.1f}-{max(rates):.1f}) a second, "
        f"{statistics.median(costs):.1f} ({min(costs):.1f}-{max(costs):.1f}) ms of processor time each"
    )


if __name__ == "__main__":
    main()
