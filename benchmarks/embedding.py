"""Speaker embedding: cost of 3 s on one thread, of a row in a batch, and of the server's batcher against a bare loop.

python -m benchmarks.embedding [--model FOLDER]

Costs are CPU time, which a busy machine does not change much; throughputs are taken in turns, and only their ratio
means something. Without --model the cached `campplus` is used, fetched at the first need.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
from threadpoolctl import threadpool_limits

from engines.ort import OrtOptions
from engines.pull.store import ensure
from engines.speaker.describe import inspect_speaker
from engines.speaker.description import SpeakerDescription
from engines.speaker.engine import SpeakerEngine, open_speaker
from server.config import SpeakerConfig
from server.speaker.batching import PieceBatcher

RATE = 16000
BATCHES = (1, 2, 4, 8, 16)
SECONDS = (1.5, 2.0, 3.0)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def cpu_ms(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of this thread for each work, in turns so that disturbances fall on all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(rounds + 1):
        for name, work in works.items():
            begin = time.thread_time()
            work()
            if round_:  # the first is a warm-up
                times[name].append((time.thread_time() - begin) * 1000)
    return times


def shown(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def one_thread(engine: SpeakerEngine, rounds: int) -> None:
    """What 3 s cost, front end included; beside it the graph in ONNX Runtime, if something else runs the network."""
    samples = noise(3.0)
    features = engine.features(samples)
    works: dict[str, Callable[[], object]] = {
        "front end": lambda: engine.features(samples),
        f"network ({engine.network})": lambda: engine.embed([features]),
        "both": lambda: engine.embed([engine.features(samples)]),
    }
    if engine.network != "onnxruntime":
        plain = open_speaker(engine.description, OrtOptions(rewrite=False))
        works["network (onnxruntime)"] = lambda: plain.embed([features])
        difference = np.abs(plain.embed([features]) - engine.embed([features])).max()
        print(f"largest difference of the two networks' numbers: {difference:.1e}")
    for name, values in cpu_ms(works, rounds).items():
        factor = statistics.median(values) / 3000
        print(f"3 s, one thread, {name}: {shown(values)} ms CPU, real-time factor {factor:.4f}")


def rows(description: SpeakerDescription, rounds: int) -> None:
    """CPU time per row of a batch."""
    engine = open_speaker(description, max_batch=max(BATCHES))
    for seconds in SECONDS:
        features = engine.features(noise(seconds))
        works = {str(size): lambda size=size, f=features: engine.embed([f] * size) for size in BATCHES}
        times = cpu_ms(works, rounds)
        costs = ", ".join(f"{size}: {statistics.median(values) / int(size):.1f}" for size, values in times.items())
        print(f"{seconds:g} s, ms CPU per row at batch {costs}")


def in_turns(works: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Items per second, and CPU milliseconds of the process per item, of each work in turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for round_ in range(rounds + 1):
        for name, work in works.items():
            begin, cpu = time.monotonic(), time.process_time()
            count = work()
            seconds, spent = time.monotonic() - begin, time.process_time() - cpu
            if round_:
                found[name].append((count / seconds, spent / count * 1000))
    return found


def arrangements(description: SpeakerDescription, rounds: int, count: int) -> None:
    """Two cores: one call over both, or two calls of one thread each, of one row or of four."""
    small = open_speaker(description, max_batch=4)
    wide = open_speaker(description, OrtOptions(intra_threads=2), max_batch=4)
    features = small.features(noise(3.0))

    def spread(size: int) -> int:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: small.embed([features] * size), range(count // size)))
        return count

    works: dict[str, Callable[[], int]] = {
        "one call, two threads": lambda: sum(len(wide.embed([features])) for _ in range(count)),
        "one call of four rows, two threads": lambda: sum(len(wide.embed([features] * 4)) for _ in range(count // 4)),
        "two calls, a thread each": lambda: spread(1),
        "two calls of four rows, a thread each": lambda: spread(4),
    }
    for name, values in in_turns(works, rounds).items():
        print(f"{name}: {shown([rate for rate, _ in values])} per s, {shown([cpu for _, cpu in values])} ms CPU each")


def batcher(engine: SpeakerEngine, rounds: int, count: int, workers: int) -> None:
    """The server's batcher under mixed lengths against as many threads in bare loops."""
    recordings = [noise(SECONDS[index % len(SECONDS)], index) for index in range(count)]

    def bare() -> int:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda samples: engine.embed([engine.features(samples)]), recordings))
        return count

    async def through() -> int:
        with ThreadPoolExecutor(workers) as pool:
            pieces = PieceBatcher(engine, SpeakerConfig(), pool, workers)
            serving = asyncio.create_task(pieces.batcher.serve())
            await asyncio.gather(*(pieces.embed(samples) for samples in recordings))
            pieces.batcher.close()
            await serving
        return count

    found = in_turns({"bare loop": bare, "batcher": lambda: asyncio.run(through())}, rounds)
    for name, values in found.items():
        print(f"{name}: {shown([rate for rate, _ in values])} per s, {shown([cpu for _, cpu in values])} ms CPU each")
    ratios = [one[0] / other[0] for one, other in zip(found["batcher"], found["bare loop"], strict=True)]
    print(f"batcher / bare loop: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="A folder with a speaker model (default: campplus).")
@click.option("--rounds", default=15, help="Rounds of each measurement.")
@click.option("--count", default=24, help="Utterances of a throughput round.")
@click.option("--workers", default=2, help="Threads.")
def main(model: Path | None, rounds: int, count: int, workers: int) -> None:
    threadpool_limits(1, user_api="blas")  # as the server does
    description = inspect_speaker(model or ensure("campplus", print))
    engine = open_speaker(description)
    one_thread(engine, rounds)
    rows(description, rounds)
    arrangements(description, max(2, rounds // 4), count)
    batcher(engine, max(2, rounds // 4), count, workers)


if __name__ == "__main__":
    main()
