"""Change of sample rate that carries its state: any cut of the audio gives the same samples."""

import numpy as np
import soxr

from speech.audio import Samples
from speech.errors import BadAudio, BadOption

MIN_RATE_HZ = 8000
MAX_RATE_HZ = 48000


def require_rate(rate_hz: int) -> None:
    """Raise BadAudio unless `rate_hz` is a rate that recognition can use."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise BadAudio(f"sample rate {rate_hz} Hz, {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz allowed")


class Resampler:
    """Resample one stream with soxr's HQ filter (linear phase, delay removed); equal rates pass through untouched."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        """Raises BadAudio for a source rate outside 8000 to 48000 Hz."""
        require_rate(from_hz)
        if to_hz < 1 or channels < 1:
            raise BadOption(f"cannot resample to {to_hz} Hz with {channels} channels: both must be positive")
        self._channels = channels
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")

    def push(self, samples: Samples) -> Samples:
        """Take (channels, n) float32, return the (channels, m) that are ready; a fresh stream keeps some ms back."""
        if samples.ndim != 2 or samples.shape[0] != self._channels:
            raise BadOption(f"samples of shape {samples.shape} given, ({self._channels}, n) expected")
        return samples if self._stream is None else self._run(samples, last=False)

    def flush(self) -> Samples:
        """Return what is still held back, (channels, m); the resampler then starts a new stream."""
        silence = np.zeros((self._channels, 0), np.float32)
        if self._stream is None:
            return silence
        rest = self._run(silence, last=True)
        self._stream.clear()
        return rest

    def _run(self, samples: Samples, *, last: bool) -> Samples:
        assert self._stream is not None, "passthrough has nothing to run"
        resampled: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples.T), last=last)
        return np.ascontiguousarray(resampled.T)
