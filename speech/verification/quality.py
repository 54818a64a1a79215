"""How far a speaker vector can be trusted, from the audio it was made of: length, level, noise, clipping."""

import enum
from dataclasses import dataclass

import numpy as np

from speech.audio import Samples

FULL_SCALE = 0.999
SILENCE_DB = -120.0
MAX_SNR_DB = 100.0
_FRAME_S = 0.025

# Seconds of speech: equal error rates of short queries are 11 % at 1 s, 5 % at 1.5 s and under 1 % at 3 s (measured
# with CAM++ on telephone prompts).
FAIR_S = 1.5
GOOD_S = 3.0
MAX_CLIPPED = 0.01
MIN_SNR_DB = 10.0
MIN_LEVEL_DB = -60.0


class Level(enum.Enum):
    """The verdict in one word; the proto's EmbeddingQuality.Level."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


@dataclass(frozen=True, slots=True)
class Quality:
    """Measured on the samples that went through the network; see EmbeddingQuality in the proto."""

    level: Level
    snr_db: float
    clipped_share: float
    level_db: float


def judge(samples: Samples, sample_rate: int) -> Quality:
    """Judge (n,) samples in [-1, 1]; n may be 0."""
    seconds = len(samples) / sample_rate
    clipped = float((np.abs(samples) >= FULL_SCALE).mean()) if len(samples) else 0.0
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    level_db = _decibels(power)
    snr_db = _snr_db(samples, max(1, int(_FRAME_S * sample_rate)))
    is_poor = seconds < FAIR_S or clipped > MAX_CLIPPED or level_db < MIN_LEVEL_DB or snr_db < MIN_SNR_DB
    level = Level.POOR if is_poor else Level.GOOD if seconds >= GOOD_S else Level.FAIR
    return Quality(level, snr_db, clipped, level_db)


def _snr_db(samples: Samples, frame: int) -> float:
    """Loud over quiet frames, the 95th over the 10th percentile of their energies: little for noise and for tones."""
    count = len(samples) // frame
    if count == 0:
        return 0.0
    powers = np.square(samples[: count * frame].reshape(count, frame), dtype=np.float64).mean(axis=1)
    quiet, loud = np.percentile(powers, [10, 95])
    if _decibels(loud) <= SILENCE_DB:
        return 0.0
    return min(MAX_SNR_DB, _decibels(loud) - _decibels(quiet))


def _decibels(power: float) -> float:
    return max(SILENCE_DB, 10 * float(np.log10(power))) if power > 0 else SILENCE_DB
