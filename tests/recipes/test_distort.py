"""Distortions of samples: each does what it is named for, keeps length and time, and repeats with its seed."""

import numpy as np
import pytest

from recipes.synthesis import distort
from recipes.synthesis.codecs import gsm, mu_law, opus
from recipes.synthesis.room import in_room, response
from recipes.synthesis.shards import Utterance
from recipes.synthesis.speak import speak_shard
from recipes.synthesis.texts import Sentence

RATE = 16000


def speechlike(seed: int, count: int = 23456) -> np.ndarray:
    """Harmonics up to 7 kHz whose loudness and pitch move, (count,) float32."""
    random = np.random.default_rng(seed)
    time = np.arange(count) / RATE
    phase = 2 * np.pi * np.cumsum(150 + 50 * np.sin(5 * time + random.random())) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 35)) * (0.6 + 0.4 * np.sin(11 * time))
    return (0.2 * tone).astype(np.float32)


def lag(sent: np.ndarray, heard: np.ndarray) -> int:
    """Samples by which `heard` comes later, of the best match within 30 ms."""
    middle = sent[5000:15000]
    return max(range(-480, 481), key=lambda d: float(middle @ heard[5000 + d : 15000 + d]))


def share_above(samples: np.ndarray, hertz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[int(hertz * len(samples) / RATE) :].sum() / power.sum())


DISTORTIONS = {
    "mu_law": lambda x, r: mu_law(x),
    "gsm": lambda x, r: gsm(x),
    "opus": lambda x, r: distort.code("opus", x, r),
    "clip": distort.clip,
    "in_room": in_room,
}


@pytest.mark.parametrize("name", DISTORTIONS)
def test_each_changes_the_sound_and_keeps_length_time_and_loudness(name):
    sent = speechlike(1)
    kept = sent.copy()
    heard, again = (DISTORTIONS[name](sent, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(sent, kept)
    np.testing.assert_array_equal(heard, again)
    assert heard.shape == sent.shape
    assert heard.dtype == np.float32
    assert abs(lag(sent, heard)) <= 8, "half a millisecond"
    change = np.sqrt(np.square(heard - sent).mean() / np.square(sent).mean())
    assert 0.01 < change < 1.2
    assert 0.5 < np.abs(heard).std() / np.abs(sent).std() < 2


@pytest.mark.parametrize("codec", [mu_law, gsm])
def test_telephones_end_at_4_khz(codec):
    sent = speechlike(1)
    assert share_above(sent, 4100) > 1e-3
    assert share_above(codec(sent), 4100) < 1e-5


def test_opus_is_worse_the_thinner_it_is():
    sent = speechlike(1)
    errors = [np.square(opus(sent, thinness) - sent).mean() for thinness in (0.5, 0.9, 1.0)]
    assert errors == sorted(errors)


def test_clipping_flattens_the_peaks_and_keeps_their_height():
    sent = speechlike(1)
    heard = distort.clip(sent, np.random.default_rng(0))
    peak = np.abs(heard).max()
    assert peak == pytest.approx(np.abs(sent).max(), rel=1e-6)
    flat = (np.abs(heard) > 0.9999 * peak).mean()
    assert 0.0015 < flat < 0.06


@pytest.mark.parametrize("reflection", [0.6, 0.8, 0.9])
def test_a_rooms_reverberation_time_is_near_eyrings(reflection):
    size = np.array([5.0, 4.0, 3.0])
    heard = response(size, np.array([1.2, 1.0, 1.5]), np.array([3.4, 2.7, 1.2]), reflection, np.random.default_rng(1))
    decay_db = 10 * np.log10(np.cumsum(np.square(heard[::-1]))[::-1] / np.square(heard).sum())
    fall = [np.argmax(decay_db < level) / RATE for level in (-5, -20)]
    volume, walls = size.prod(), 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    eyring_s = 0.161 * volume / (-walls * np.log(reflection**2))
    assert 4 * (fall[1] - fall[0]) == pytest.approx(eyring_s, rel=0.2)


def test_direct_sound_comes_first_and_a_room_without_echo_changes_nothing():
    size, source, microphone = np.array([5.0, 4.0, 3.0]), np.array([1.2, 1.0, 1.5]), np.array([3.4, 2.7, 1.2])
    random = np.random.default_rng(1)
    np.testing.assert_allclose(response(size, source, microphone, 0.0, random)[0], 1.0)
    assert not response(size, source, microphone, 0.0, random)[1:].any()
    assert response(size, source, microphone, 0.7, random).argmax() == 0


def test_an_eighth_is_distorted_unless_told_otherwise():
    sent = speechlike(1, 4000)

    def changed(share: float) -> int:
        return sum(distort.distort(sent, np.random.default_rng(seed), share) is not sent for seed in range(800))

    assert 70 < changed(1.0) < 135
    assert changed(0.0) == 0


def test_distortion_does_not_move_what_the_voice_draws():
    class Voice:
        def speak(self, text, random):
            return speechlike(random.integers(1000), 12000)

    def spoken(distorted: float) -> list[Utterance]:
        sentences = [Sentence("a", "A")] * 24
        return speak_shard(Voice(), sentences, np.random.default_rng(5), distorted)

    clean, some, again = spoken(0.0), spoken(1.0), spoken(1.0)
    same = [np.array_equal(a.features, b.features) for a, b in zip(clean, some, strict=True)]
    assert 15 < sum(same) < 24
    assert all(np.array_equal(a.features, b.features) for a, b in zip(some, again, strict=True))
