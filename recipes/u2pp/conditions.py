"""Worse recordings of the same speech, for measuring: telephone and noise. Samples are (n,) float32 at 16 kHz."""

import numpy as np
import soxr

_MU = 255.0


def clean(samples: np.ndarray) -> np.ndarray:
    """As it is."""
    return samples


def telephone(samples: np.ndarray) -> np.ndarray:
    """8 kHz, 8-bit mu-law (the continuous curve of G.711, 256 levels), and back to 16 kHz."""
    narrow = np.clip(soxr.resample(samples, 16000, 8000), -1, 1)
    curve = np.sign(narrow) * np.log1p(_MU * np.abs(narrow)) / np.log1p(_MU)
    levels = np.rint(curve * 127) / 127
    decoded = np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(_MU)) / _MU
    return soxr.resample(decoded.astype(np.float32), 8000, 16000)


def noise_10db(samples: np.ndarray) -> np.ndarray:
    """Pink noise 10 dB below the mean power of the whole recording; the seed follows from its length."""
    random = np.random.default_rng(len(samples))
    spectrum = np.fft.rfft(random.standard_normal(len(samples)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(samples))
    power = np.mean(np.square(samples)) / 10.0
    return (samples + pink * np.sqrt(power / np.mean(np.square(pink)))).astype(np.float32)


CONDITIONS = {"clean": clean, "telephone": telephone, "noise10": noise_10db}
