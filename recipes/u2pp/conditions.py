"""Worse recordings of the same speech, for measuring: telephone, codecs, noise. Samples are (n,) float32 at 16 kHz."""

import numpy as np

from recipes.synthesis.codecs import gsm, mu_law, opus


def clean(samples: np.ndarray) -> np.ndarray:
    """As it is."""
    return samples


def noise_10db(samples: np.ndarray) -> np.ndarray:
    """Pink noise 10 dB below the mean power of the whole recording; the seed follows from its length."""
    random = np.random.default_rng(len(samples))
    spectrum = np.fft.rfft(random.standard_normal(len(samples)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(samples))
    power = np.mean(np.square(samples)) / 10.0
    return (samples + pink * np.sqrt(power / np.mean(np.square(pink)))).astype(np.float32)


CONDITIONS = {"clean": clean, "telephone": mu_law, "noise10": noise_10db, "gsm": gsm, "opus": opus}
