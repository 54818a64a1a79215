"""Features: CPU time of the batched front end per second of audio and stream, and what its overlap costs.

python -m benchmarks.features
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from speech.features import PROFILES, Fbank


def cpu_ms(work: Callable[[], object], rounds: int = 15, repeats: int = 10) -> list[float]:
    """CPU milliseconds of one call, `rounds` times the mean of `repeats`."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(repeats):
            work()
        times.append((time.process_time() - begin) / repeats * 1000)
    return times


def main() -> None:
    threadpool_limits(1, user_api="blas")  # as the server does
    fbank = Fbank(PROFILES["wenet"])
    random = np.random.default_rng(0)
    for batch in (1, 8, 32):
        windows = random.uniform(-0.5, 0.5, (batch, fbank.num_samples(67))).astype(np.float32)
        times = [each / batch / 0.64 for each in cpu_ms(lambda windows=windows: fbank(windows))]
        middle = statistics.median(times)
        print(f"batch {batch:2d}: {middle:.3f} ms CPU per second of audio ({min(times):.3f}-{max(times):.3f})")
    compare_overlap(fbank, random)


def compare_overlap(fbank: Fbank, random: np.random.Generator, batch: int = 16) -> None:
    """Compute 67 frames, or compute 64 and keep the last 3 of each stream in a state array by slot."""
    whole = random.uniform(-0.5, 0.5, (batch, fbank.num_samples(67))).astype(np.float32)
    stride = np.ascontiguousarray(whole[:, -fbank.num_samples(64) :])
    kept = np.zeros((256, 3, 80), np.float32)
    slots = random.permutation(256)[:batch]

    def keep_frames() -> np.ndarray:
        fresh = fbank(stride)
        frames = np.concatenate([kept[slots], fresh], axis=1)
        kept[slots] = fresh[:, -3:]
        return frames

    again, keep = (statistics.median(cpu_ms(work)) / batch * 1000 for work in (lambda: fbank(whole), keep_frames))
    print(f"overlap computed again: {again:.0f} us per window; overlap kept as frames: {keep:.0f} us per window")


if __name__ == "__main__":
    main()
