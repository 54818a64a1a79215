"""Distortions that need samples, drawn while speech is made: rooms, clipping, codecs. Same length in and out.

What can be done to log-mel features (pace, vocal tract, level, noise, music, babble, masks, quicker rooms and
telephones) is drawn anew each time an utterance is trained on: recipes/u2pp/augment.py.
"""

import numpy as np

from recipes.synthesis.codecs import gsm, mu_law, opus
from recipes.synthesis.room import in_room

# Chances of each; seven utterances in eight stay as they are.
_ROOM, _CLIPPED = 0.04, 0.02
_CODECS = {"mu_law": 0.02, "gsm": 0.02, "opus": 0.03}


def clip(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cut off the loudest 0.2 to 5 % of the samples, and keep the peak as high as it was."""
    height = np.quantile(np.abs(samples), 1 - np.exp(random.uniform(np.log(0.002), np.log(0.05))))
    peak = np.abs(samples).max(initial=1e-5)
    return np.asarray(np.clip(samples, -height, height) * (peak / max(height, 1e-5)), np.float32)


def code(name: str, samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Through the named codec; Opus at about 33 to 9 kbit/s."""
    if name == "opus":
        return opus(samples, random.uniform(0.9, 1.0))
    return {"mu_law": mu_law, "gsm": gsm}[name](samples)


def distort(samples: np.ndarray, random: np.random.Generator, share: float = 1.0) -> np.ndarray:
    """Usually the same; `share` multiplies the chances. (n,) float32 at 16 kHz."""
    room, clipped, coded = random.random(3) / max(share, 1e-9)
    if room < _ROOM:
        samples = in_room(samples, random)
    if clipped < _CLIPPED:
        samples = clip(samples, random)
    edges = np.cumsum(list(_CODECS.values()))
    if coded < edges[-1]:
        samples = code(list(_CODECS)[int(np.searchsorted(edges, coded, side="right"))], samples, random)
    return samples
