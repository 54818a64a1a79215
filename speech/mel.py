"""Analysis windows and mel filter banks, as Kaldi and as librosa (Whisper) define them. Arrays only, no settings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Banks = npt.NDArray[np.float32]
"""(spectrum bins, mel bins) float32: triangles."""


def analysis_window(name: str, length: int, *, is_periodic: bool = False) -> npt.NDArray[np.float64]:
    """Return a "povey", "hamming" or "hann" window of `length` samples.

    Kaldi divides by length - 1, where a periodic window divides by length; its Povey window is a Hann window to the
    power 0.85.
    """
    cosine = np.cos(2 * np.pi * np.arange(length) / (length if is_periodic else length - 1))
    if name == "hamming":
        return 0.54 - 0.46 * cosine
    hann = 0.5 - 0.5 * cosine
    return hann if name == "hann" else hann**0.85


def kaldi_banks(num_bins: int, low_hz: float, top_hz: float, sample_rate: int, fft_length: int) -> Banks:
    """Triangles that are straight on the mel axis, HTK's 1127 ln(1 + f / 700), all of height 1."""
    edges = np.linspace(_htk_mel(low_hz), _htk_mel(top_hz), num_bins + 2)
    return _triangles(_htk_mel(_spectrum_hz(sample_rate, fft_length)), edges)


def slaney_banks(num_bins: int, low_hz: float, top_hz: float, sample_rate: int, fft_length: int) -> Banks:
    """Triangles that are straight in Hz, between points of Slaney's mel axis, all of area 1 (librosa's default)."""
    edges = _slaney_hz(np.linspace(_slaney_mel(low_hz), _slaney_mel(top_hz), num_bins + 2))
    areas = 2.0 / (edges[2:] - edges[:-2])
    return (_triangles(_spectrum_hz(sample_rate, fft_length), edges) * areas).astype(np.float32)


def _spectrum_hz(sample_rate: int, fft_length: int) -> npt.NDArray[np.float64]:
    return np.arange(fft_length // 2 + 1, dtype=np.float64) * sample_rate / fft_length


def _triangles(places: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> Banks:
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    across = places[:, np.newaxis]
    weights = np.minimum((across - left) / (centre - left), (right - across) / (right - centre))
    return np.maximum(weights, 0.0).astype(np.float32)


def _htk_mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)


# Slaney's Auditory Toolbox: 3 mel per 200 Hz up to 1000 Hz, above it 27 mel for a factor of 6.4.
_MEL_PER_HZ, _KNEE_HZ = 3 / 200, 1000.0
_MEL_PER_LOG = 27 / np.log(6.4)


def _slaney_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz * _MEL_PER_HZ
    return float(_KNEE_HZ * _MEL_PER_HZ + np.log(hz / _KNEE_HZ) * _MEL_PER_LOG)


def _slaney_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _KNEE_HZ * np.exp((mel - _KNEE_HZ * _MEL_PER_HZ) / _MEL_PER_LOG)
    return np.where(mel < _KNEE_HZ * _MEL_PER_HZ, mel / _MEL_PER_HZ, above)
