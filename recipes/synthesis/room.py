"""Room responses by the image method (Allen and Berkley 1979): a box whose walls mirror the source."""

import numpy as np
from scipy.signal import fftconvolve

from recipes.synthesis.fbank import SAMPLE_RATE

_SOUND_M_S = 343.0
_LONGEST_S = 0.4
_QUIETEST = 0.01  # of pressure: images that bounced more often than leaves this are not looked for


def response(
    size: np.ndarray, source: np.ndarray, microphone: np.ndarray, reflection: float, random: np.random.Generator
) -> np.ndarray:
    """Impulse response from the direct sound on, which has height 1: (n,) float32 at 16 kHz.

    `size`, `source` and `microphone` are (3,) metres, `reflection` is the share of pressure that each wall gives back.
    Walls turn the sign, without which late sound piles up at low frequencies (Lehmann and Johansson 2008). Each image
    is moved by up to 10 cm: real rooms are no perfect boxes and do not flutter like them.
    """
    loudest = int(np.log(_QUIETEST) / np.log(np.clip(reflection, 0.05, 0.98)))
    orders = np.minimum(np.ceil(_LONGEST_S * _SOUND_M_S / size), loudest)
    steps = [np.arange(-order, order + 1) for order in orders]
    cells = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    cells = cells[np.abs(cells).sum(1) <= loudest]
    mirrored = np.where(cells % 2 == 0, source, size - source)
    places = cells * size + mirrored
    bounces = np.abs(cells).sum(1)
    places = places + np.where(bounces[:, None] > 0, random.uniform(-0.1, 0.1, places.shape), 0.0)
    distances = np.maximum(np.linalg.norm(places - microphone, axis=1), 0.1)
    direct = distances[bounces == 0][0]
    arrivals = np.rint((distances - direct) / _SOUND_M_S * SAMPLE_RATE).astype(int)
    kept = (arrivals >= 0) & (arrivals < _LONGEST_S * SAMPLE_RATE)
    heights = (-reflection) ** bounces[kept] * direct / distances[kept]
    return np.bincount(arrivals[kept], heights).astype(np.float32)


def random_response(random: np.random.Generator) -> np.ndarray:
    """A bedroom to a small hall, the speaker half a metre to a few metres away."""
    size = random.uniform([2.5, 2.5, 2.3], [8.0, 6.0, 3.5])
    microphone = random.uniform(0.15, 0.85, 3) * size
    away = random.normal(size=3) * np.array([1, 1, 0.3])
    away *= random.uniform(0.5, 3.0) / np.linalg.norm(away)
    source = np.clip(microphone + away, 0.2, size - 0.2)
    return response(size, source, microphone, random.uniform(0.5, 0.92), random)


def in_room(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Speech in a random room, as loud (in power) as before and as long; what rings on is cut."""
    heard = fftconvolve(samples, random_response(random))[: len(samples)]
    scale = np.sqrt(np.square(samples).mean() / max(np.square(heard).mean(), 1e-12))
    return np.asarray(heard * scale, np.float32)
