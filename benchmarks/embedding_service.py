"""Speaker vectors over gRPC at saturation against the bare graph on as many threads, in one run.

    python -m benchmarks.embedding_service [--models campplus] [--seconds 3] [--rounds 3] [--concurrency 8]

Rounds are interleaved, because the speed of machines drifts. Two ratios are printed: of throughput by the wall clock,
which means something on an idle machine, and of processor time per vector (the process of the server against the bare
loop), which neighbours hardly move. Then latency, one request at a time and at 80 % of the measured throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from benchmarks.audio import recordings
from client import AsyncSpeakerClient, VoiceConfig
from client.embedded import EmbeddedServer
from engines.ort import OrtOptions
from engines.pull.store import ensure
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import SpeakerEngine, open_speaker
from server.models import usable_cores

RAW = VoiceConfig(encoding="linear16", sample_rate=16000)


@dataclass(frozen=True)
class Speed:
    """Vectors per second, and processor milliseconds per vector."""

    rate: float
    cpu_ms: float


def bare(engine: SpeakerEngine, features: np.ndarray, threads: int, seconds: float) -> Speed:
    """The graph alone, batch 1, on `threads` threads at once: no features, no queue, no wire."""
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


async def served(address: str, process: psutil.Process, audio: list[bytes], concurrency: int, seconds: float) -> Speed:
    """As many requests at once as asked for, each caller's next one as soon as the last is answered."""
    end = time.monotonic() + seconds
    done = 0
    async with AsyncSpeakerClient(address) as client:
        await client.embed(audio[0], RAW)
        before, begin = cpu_s(process), time.monotonic()

        async def caller(index: int) -> None:
            nonlocal done
            while time.monotonic() < end:
                await client.embed(audio[index % len(audio)], RAW)
                done += 1

        await asyncio.gather(*(caller(index) for index in range(concurrency)))
        return Speed(done / (time.monotonic() - begin), 1000 * (cpu_s(process) - before) / done)


async def latencies(address: str, audio: list[bytes], rate: float, seconds: float) -> list[float]:
    """Milliseconds of requests that come at random moments, `rate` a second; 0: one after the other."""
    random, found = np.random.default_rng(0), []
    async with AsyncSpeakerClient(address) as client:

        async def one(index: int) -> None:
            begin = time.monotonic()
            await client.embed(audio[index % len(audio)], RAW)
            found.append(1000 * (time.monotonic() - begin))

        end, calls, index = time.monotonic() + seconds, [], 0
        while time.monotonic() < end:
            if rate:
                await asyncio.sleep(random.exponential(1 / rate))
                calls.append(asyncio.create_task(one(index)))
            else:
                await one(index)
            index += 1
        await asyncio.gather(*calls)
    return found


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
    engine = open_speaker(inspect_speaker(folder), OrtOptions(intra_threads=1), max_batch=1)
    audio = recordings(arguments.seconds)
    samples = np.frombuffer(audio[0], "<i2").astype(np.float32) / 32768
    features = engine.features(samples)
    front_ms = _cpu_ms(lambda: engine.features(samples))
    loops, calls = [], []
    with EmbeddedServer(str(folder), arguments=["--gallery", ":memory:", "--log-level", "error"]) as server:
        process = psutil.Process(server.pid)
        for _ in range(arguments.rounds):
            loops.append(bare(engine, features, threads, arguments.round_seconds))
            work = served(server.address, process, audio, arguments.concurrency, arguments.round_seconds)
            calls.append(asyncio.run(work))
        rate = statistics.median(each.rate for each in calls)
        alone = asyncio.run(latencies(server.address, audio, 0, arguments.round_seconds))
        loaded = asyncio.run(latencies(server.address, audio, 0.8 * rate, 2 * arguments.round_seconds))
    print(f"{folder.name}, {arguments.seconds:g} s ({len(features)} frames), {threads} threads")
    _print("bare graph", loops)
    _print(f"Embed, {arguments.concurrency} at once", calls)
    print(f"features alone: {front_ms:.2f} ms of processor time")
    walls = statistics.median(call.rate / loop.rate for call, loop in zip(calls, loops, strict=True))
    costs = statistics.median(loop.cpu_ms / call.cpu_ms for call, loop in zip(calls, loops, strict=True))
    print(f"service / bare loop: {walls:.2f} by the wall clock, {costs:.2f} by processor time")
    one, p50, p99 = statistics.median(alone), *np.percentile(loaded, [50, 99])
    print(f"one at a time: {one:.0f} ms; at 80 % load: p50 {p50:.0f} ms, p99 {p99:.0f} ms = {p99 / one:.1f} times")


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
