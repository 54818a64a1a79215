"""What every voice offers, and the random part that is the same for all of them."""

from typing import Protocol

import numpy as np
import soxr

from recipes.synthesis.fbank import SAMPLE_RATE


class Voice(Protocol):
    """Speaks one sentence as 16 kHz float32 mono, drawing speaker, pace and pitch from `random`."""

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray: ...


def to_16k(samples: np.ndarray, rate: float, tape_speed: float = 1.0) -> np.ndarray:
    """Resample to 16 kHz; `tape_speed` > 1 plays faster and higher, like a tape."""
    if rate * tape_speed == SAMPLE_RATE:
        return np.asarray(samples, np.float32)
    return soxr.resample(np.asarray(samples, np.float32), rate * tape_speed, SAMPLE_RATE, quality="MQ")


def loud_part(samples: np.ndarray) -> tuple[int, int]:
    """First and last sample worth keeping: at most 0.15 s of near-silence remains at each end."""
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max(initial=1e-5))
    if not len(loud):
        return 0, len(samples)
    margin = int(0.15 * SAMPLE_RATE)
    return max(0, int(loud[0]) - margin), min(len(samples), int(loud[-1]) + margin)


def finish(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cut to the loud part and scale to a random peak."""
    peak = float(np.abs(samples).max(initial=1e-5))
    first, last = loud_part(samples)
    return np.asarray(samples[first:last] * (random.uniform(0.2, 0.9) / peak), np.float32)
