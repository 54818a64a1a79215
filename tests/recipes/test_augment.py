"""Distortions of features: each does something, is repeatable, and leaves its input alone."""

from pathlib import Path

import numpy as np
import pytest

from recipes.synthesis.fbank import log_mel
from recipes.synthesis.recordings import load_16k
from recipes.u2pp import augment
from recipes.u2pp.augment import LOG_FLOOR
from recipes.u2pp.conditions import noise_10db

DEMO = Path(__file__).parents[2] / "models" / "demo"


def features(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Of something like speech: a gliding harmonic tone that comes and goes, over faint noise."""
    random = np.random.default_rng(seed)
    time = np.arange(int(16000 * seconds)) / 16000
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(4 * time)) / 16000
    tone = sum(np.sin(k * phase) / k for k in range(1, 20)) * (np.sin(9 * time) > -0.3)
    return log_mel((0.1 * tone + 1e-4 * random.standard_normal(len(time))).astype(np.float32))


DISTORTIONS = {
    "stretch": lambda x, r: augment.stretch(x, r.uniform(0.85, 0.95)),
    "warp": lambda x, r: augment.warp(x, r.uniform(0.9, 0.95)),
    "add_noise": lambda x, r: augment.add_noise(x, r, 10.0),
    "reverberate": augment.reverberate,
    "telephone": augment.telephone,
    "babble": lambda x, r: augment.babble(x, features(9, 1.3), r),
    "music": augment.music,
    "masked": lambda x, r: augment.masked(x.copy(), r),
    "augment": lambda x, r: augment.augment(x, features(9, 1.3), r),
}


@pytest.mark.parametrize("name", DISTORTIONS)
def test_each_changes_features_by_its_seed_alone_and_keeps_its_input(name):
    x = features(1)
    kept, distort = x.copy(), DISTORTIONS[name]
    first, again, other = (distort(x, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert first.shape[1] == 80
    if name in ("stretch", "augment"):
        assert len(first) != len(other), "these change the length"
    else:
        assert first.shape == x.shape
        assert np.abs(first - x).max() > 1
        assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("name", ["add_noise", "babble", "music", "reverberate"])
def test_what_is_added_never_takes_power_away(name):
    x = features(1)
    assert (DISTORTIONS[name](x, np.random.default_rng(0)) >= x - 1e-4).all()


@pytest.mark.parametrize("snr_db", [-1.0, 10.0, 30.0])
def test_noise_lies_as_far_below_loud_frames_as_is_asked(snr_db):
    x = np.full((400, 80), LOG_FLOOR, np.float32)
    x[:100] = 12.0
    levels = [augment.add_noise(x, np.random.default_rng(seed), snr_db)[100:].mean() for seed in range(40)]
    assert (12.0 - np.mean(levels)) * 10 / np.log(10) == pytest.approx(snr_db, abs=2.5)


@pytest.mark.parametrize("name", ["garden.flac", "harbour.flac"])
def test_what_is_drawn_reaches_pink_noise_at_10_db(name):
    """The card's condition: training that never hears so much noise does not understand it."""
    speech = load_16k(DEMO / name)
    noise = log_mel(noise_10db(speech) - speech)
    loud = np.percentile(log_mel(speech).mean(1), 90)
    lowest, highest = augment.NOISE_DB
    assert lowest < (loud - noise.mean()) * 10 / np.log(10) < (lowest + highest) / 2
    assert augment.TILT[0] < np.polyfit(np.linspace(-1, 1, 80), noise.mean(0), 1)[0] < augment.TILT[1]


@pytest.mark.parametrize("seed", range(6))
def test_music_is_lines_of_steady_pitch_at_its_level_below_speech(seed):
    x = features(1)
    silent = np.full_like(x, LOG_FLOOR)
    silent[0] = x[np.argmax(np.logaddexp.reduce(x, axis=1))]
    mixed = augment.music(x, np.random.default_rng(seed))
    added = np.exp(mixed.astype(np.float64)).sum(1) - np.exp(x.astype(np.float64)).sum(1)
    gap_db = 10 * np.log10(np.percentile(np.exp(x.astype(np.float64)).sum(1), 90) / np.percentile(added, 90))
    assert 4.5 < gap_db < 25.5
    quiet = np.flatnonzero(x.mean(axis=1) < np.percentile(x.mean(axis=1), 20))
    lines = mixed[quiet] - mixed[quiet].mean(axis=1, keepdims=True)
    assert lines.max() > 3, "a tone stands out of its frame"


def test_everything_in_its_turn_comes_up():
    """600 draws of the whole mixture: features stay in range, and some end in a second of silence."""
    x, other = features(1, 0.8), features(9, 0.5)
    mixtures = [augment.augment(x, other, np.random.default_rng(seed)) for seed in range(600)]
    assert all(mixture.min() >= LOG_FLOOR for mixture in mixtures)
    assert all(mixture.max() < 30 for mixture in mixtures)
    lengths = [len(mixture) for mixture in mixtures]
    assert max(lengths) - min(lengths) > 100
