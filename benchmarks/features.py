"""Features: CPU time of the batched front end per second of audio and stream.

python -m benchmarks.features
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from speech.features import PROFILES, Fbank


def main() -> None:
    fbank = Fbank(PROFILES["wenet"])
    random = np.random.default_rng(0)
    for batch in (1, 8, 32):
        samples = random.uniform(-0.5, 0.5, (batch, fbank.num_samples(67))).astype(np.float32)
        fbank(samples)
        times = []
        for _ in range(15):
            begin = time.process_time()
            for _ in range(10):
                fbank(samples)
            times.append((time.process_time() - begin) / 10 / batch / 0.64 * 1000)
        middle = statistics.median(times)
        print(f"batch {batch:2d}: {middle:.3f} ms CPU per second of audio ({min(times):.3f}-{max(times):.3f})")


if __name__ == "__main__":
    main()
