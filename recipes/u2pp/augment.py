"""Cheap distortions of log-mel features: pace, vocal tract, level, channel, noise, music, babble, room, phone, masks.

Speech made by machines is too clean; these make a model trained on it work on other voices and rooms. All arrays are
(frames, 80) float32 natural-log mel energies at int16 scale. What needs samples (pitch, codecs, clipping, room
responses) is drawn when speech is made: by the voices themselves and recipes/synthesis/distort.py.
"""

import numpy as np

LOG_FLOOR = np.float32(-15.94)  # log of float32 epsilon: digital silence
_DB = np.log(10) / 10  # of power, in natural logarithm
_PENTATONIC = np.array([0, 2, 4, 7, 9, 12, 14, 16, 19, 21, 24])
NOISE_DB = (-1.0, 30.0)  # as `add_noise` counts
TILT = (-1.5, 3.5)  # of noise from its middle bin to its highest: above brown, above white
_LOWEST_MEL, _MEL_STEP = 66.42, 34.67  # of the first filter's centre, and between centres


def interpolate(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of `rows` at fractional `positions`, linearly."""
    positions = np.clip(positions, 0, len(rows) - 1)
    low = positions.astype(np.int64)
    high = np.minimum(low + 1, len(rows) - 1)
    share = (positions - low).astype(np.float32)[:, None]
    return rows[low] * (1 - share) + rows[high] * share


def stretch(x: np.ndarray, factor: float) -> np.ndarray:
    """`factor` times as long."""
    return interpolate(x, np.arange(int(len(x) * factor)) / factor)


def warp(x: np.ndarray, factor: float) -> np.ndarray:
    """Move the mel axis, as a shorter or longer vocal tract does."""
    return np.ascontiguousarray(interpolate(x.T, np.arange(x.shape[1]) / factor).T)


def smooth_curve(random: np.random.Generator, size: int, depth: float) -> np.ndarray:
    """A random curve of a few slow cosines, (size,) float32."""
    at = np.linspace(0, 1, size)
    curve = sum(random.normal() * np.cos(np.pi * (k * at + random.random())) / (k + 1) for k in range(4))
    return (depth * curve).astype(np.float32)


def _loudness(x: np.ndarray) -> float:
    """The mean over bins of a loud frame."""
    return float(np.percentile(x.mean(axis=1), 90))


def _power(x: np.ndarray) -> float:
    """The logarithm of a loud frame's power."""
    return float(np.percentile(np.logaddexp.reduce(x, axis=1), 90))


def add_noise(x: np.ndarray, random: np.random.Generator, snr_db: float) -> np.ndarray:
    """Add coloured, fluctuating noise whose mean over bins lies `snr_db` below that of a loud frame of `x`.

    The ear's bins count alike, high ones as much as those that hold most of speech's power: pink noise at 10 dB of
    waveform power (recipes.u2pp.conditions) has 1 to 8 dB here, 5 in the middle.
    """
    loud = _loudness(x)
    colour = smooth_curve(random, x.shape[1], 2.0)
    colour += np.linspace(-1, 1, x.shape[1], dtype=np.float32) * np.float32(random.uniform(*TILT))
    slow = np.repeat(random.normal(0, 0.7, len(x) // 20 + 1), 20)[: len(x), None]
    noise = loud - snr_db * _DB + colour + slow + 0.5 * random.standard_normal(x.shape)
    return np.logaddexp(x, noise.astype(np.float32))


def reverberate(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Smear power forward in time with an exponential tail of 0.1 to 0.5 s."""
    decay = 10 ** (-6 / (random.uniform(0.15, 0.5) * 100))
    level = random.uniform(0.05, 0.3)
    power = np.exp(np.minimum(x, 25))
    tail = np.zeros_like(power)
    state = np.zeros(x.shape[1], np.float32)
    for number in range(len(x)):
        tail[number] = state
        state = decay * (state + level * power[number])
    return np.log(power + tail + 1e-7)


def telephone(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Nothing above about 3.4 kHz and little below 300 Hz, over a low noise floor."""
    x = x.copy()
    x[:, random.integers(56, 60) :] = random.uniform(-2, 4)
    x[:, : random.integers(2, 8)] -= random.uniform(1, 5)
    return x


def pad(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """Digital silence around speech."""
    return np.pad(x, ((before, after), (0, 0)), constant_values=LOG_FLOOR)


def babble(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One to five voices, 8 to 25 dB below: another utterance, repeated to length, beside itself at other moments."""
    gap = _loudness(other) - _loudness(x) + random.uniform(8, 25) * _DB
    voices = random.integers(1, 6)
    for start in random.integers(len(other), size=voices):
        rows = np.take(other, np.arange(start, start + len(x)), axis=0, mode="wrap")
        x = np.logaddexp(x, (rows - gap - np.log(voices)).astype(np.float32))
    return x


def music(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Chords of harmonic tones that fade until the next begins, 5 to 25 dB below the loud part of `x`."""
    tones = np.empty_like(x)
    root, length = 110 * 2 ** random.uniform(0, 1), random.integers(15, 70)
    fade = random.uniform(0.01, 0.08)
    for start in range(0, len(x), length):
        notes = root * 2 ** (random.choice(_PENTATONIC, random.integers(1, 4)) / 12)
        harmonics = np.arange(1, 13)
        hertz, strength = np.outer(notes, harmonics), np.broadcast_to(-1.2 * np.log(harmonics), (len(notes), 12))
        bins = (1127 * np.log1p(hertz / 700) - _LOWEST_MEL) / _MEL_STEP
        spread = strength[..., None] - np.square(np.arange(x.shape[1]) - bins[..., None])
        chord = np.logaddexp.reduce(spread.reshape(-1, x.shape[1]))
        part = tones[start : start + length]
        part[:] = chord - fade * np.arange(len(part))[:, None]
    level = _power(x) - _power(tones) - random.uniform(5, 25) * _DB
    return np.logaddexp(x, (tones + level).astype(np.float32))


def masked(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """SpecAugment (Park et al. 2019): up to two bands and three short times take the mean value."""
    value = float(x.mean())
    for _ in range(2):
        width = random.integers(0, 12)
        first = random.integers(0, x.shape[1] - width)
        x[:, first : first + width] = value
    for _ in range(min(3, len(x) // 80)):
        width = random.integers(0, 14)
        first = random.integers(0, max(1, len(x) - width))
        x[first : first + width] = value
    return x


def augment(features: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One random mixture of everything above; `other` is an utterance to babble behind it. (frames, 80) float32."""
    x = stretch(features.astype(np.float32), random.uniform(0.85, 1.15))
    x = warp(x, random.uniform(0.93, 1.08))
    if random.random() < 0.12:
        x = telephone(x, random)
    x = x + smooth_curve(random, x.shape[1], 0.5) + np.float32(random.uniform(-3, 1.5))
    if random.random() < 0.07:
        x = reverberate(x, random)
    x = pad(x, random.integers(0, 25), random.integers(5, 45) if random.random() < 0.8 else random.integers(45, 110))
    if random.random() < 0.03:
        x = babble(x, other.astype(np.float32), random)
    if random.random() < 0.03:
        x = music(x, random)
    if random.random() < 0.5:
        x = add_noise(x, random, random.uniform(*NOISE_DB))
    return masked(np.maximum(x, LOG_FLOOR).astype(np.float32), random)


def silence(random: np.random.Generator) -> np.ndarray:
    """0.5 to 2 s of nothing or of noise."""
    x = np.full((random.integers(50, 200), 80), LOG_FLOOR, np.float32)
    if random.random() < 0.7:
        x = add_noise(np.full_like(x, random.uniform(-4, 12)), random, 0.0)
    return np.clip(x, LOG_FLOOR, 16.0).astype(np.float32)
