"""Speech through a codec and back: 8 kHz mu-law, GSM 06.10, Opus.

Samples are (n,) float32 at 16 kHz, in and out, of the same length and without delay.
"""

import io

import numpy as np
import soundfile
import soxr

from recipes.synthesis.fbank import SAMPLE_RATE

_MU = 255.0
_NARROW = 8000


def _narrow(samples: np.ndarray) -> np.ndarray:
    return np.clip(soxr.resample(samples, SAMPLE_RATE, _NARROW), -1, 1)


def _wide(narrow: np.ndarray, count: int) -> np.ndarray:
    wide = soxr.resample(np.asarray(narrow, np.float32), _NARROW, SAMPLE_RATE)[:count]
    return np.pad(wide, (0, count - len(wide)))


def mu_law(samples: np.ndarray) -> np.ndarray:
    """8 kHz, 8 bits (the continuous curve of G.711, 256 levels)."""
    narrow = _narrow(samples)
    curve = np.sign(narrow) * np.log1p(_MU * np.abs(narrow)) / np.log1p(_MU)
    levels = np.rint(curve * 127) / 127
    return _wide(np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(_MU)) / _MU, len(samples))


def _through_file(samples: np.ndarray, rate: int, **kind: object) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **kind)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0][: len(samples)]


def gsm(samples: np.ndarray) -> np.ndarray:
    """8 kHz, GSM full rate, 13 kbit/s, by libsndfile."""
    return _wide(_through_file(_narrow(samples), _NARROW, format="WAV", subtype="GSM610"), len(samples))


def opus(samples: np.ndarray, thinness: float = 0.97) -> np.ndarray:
    """Opus by libsndfile; `thinness` 0.9 is about 33 kbit/s, 0.97 16 and 1 9."""
    clipped = np.clip(samples, -1, 1)
    return _through_file(clipped, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=thinness)
