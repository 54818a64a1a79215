"""How far a speaker vector can be trusted, from the audio it was made of: length, level, noise, clipping."""

import enum
from dataclasses import dataclass

import numpy as np

from speech.audio import Samples

FULL_SCALE = 0.999
SILENCE_DB = -120.0
MAX_SNR_DB = 100.0
_FRAME_S = 0.025
_STEP_DB = 0.25  # of the histogram of frame energies: memory does not grow with the audio
_LOUDEST_DB = 60.0  # float audio may go beyond full scale

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


class QualityMeter:
    """Measures one voice while its samples come, in pieces of any size. Owned by one call."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._frame = max(1, int(_FRAME_S * sample_rate))
        self._histogram = np.zeros(int((_LOUDEST_DB - SILENCE_DB) / _STEP_DB) + 1, np.int64)
        self._rest = np.zeros(0, np.float32)
        self._power = 0.0
        self._num_clipped = 0
        self._num_samples = 0

    def push(self, samples: Samples) -> None:
        """Take (n,) more samples in [-1, 1]."""
        self._num_samples += len(samples)
        # einsum sums in pieces: no copies of all samples, which would be mapped into memory anew each time.
        self._power += float(np.einsum("i,i->", samples, samples, dtype=np.float64))
        self._num_clipped += int(np.count_nonzero(samples >= FULL_SCALE) + np.count_nonzero(samples <= -FULL_SCALE))
        waiting = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        frames = waiting[: len(waiting) // self._frame * self._frame].reshape(-1, self._frame)
        self._rest = waiting[frames.size :].copy()
        powers = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / self._frame
        levels = 10 * np.log10(np.maximum(powers, 10 ** (SILENCE_DB / 10)))
        bins = np.minimum((levels - SILENCE_DB) / _STEP_DB, len(self._histogram) - 1).astype(np.int64)
        self._histogram += np.bincount(bins, minlength=len(self._histogram))

    def result(self) -> Quality:
        """Judge what was pushed, which may be nothing."""
        level_db = _decibels(self._power / self._num_samples) if self._num_samples else SILENCE_DB
        clipped = self._num_clipped / max(1, self._num_samples)
        snr_db = min(MAX_SNR_DB, self._percentile(95) - self._percentile(10))
        seconds = self._num_samples / self._sample_rate
        is_poor = seconds < FAIR_S or clipped > MAX_CLIPPED or level_db < MIN_LEVEL_DB or snr_db < MIN_SNR_DB
        level = Level.POOR if is_poor else Level.GOOD if seconds >= GOOD_S else Level.FAIR
        return Quality(level, snr_db, clipped, level_db)

    def _percentile(self, percent: float) -> float:
        """Energy in decibels that `percent` of the frames do not exceed."""
        total = int(self._histogram.sum())
        if total == 0:
            return SILENCE_DB
        rank = max(1, int(np.ceil(percent / 100 * total)))
        return SILENCE_DB + _STEP_DB * int(np.searchsorted(np.cumsum(self._histogram), rank))


def judge(samples: Samples, sample_rate: int) -> Quality:
    """Judge (n,) samples at once; n may be 0."""
    meter = QualityMeter(sample_rate)
    meter.push(samples)
    return meter.result()


def _decibels(power: float) -> float:
    return max(SILENCE_DB, 10 * float(np.log10(power))) if power > 0 else SILENCE_DB
