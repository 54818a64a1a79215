"""Resampling: any chunking equals one shot, right length, right signal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import BadAudio, BadOption
from speech.resample import Resampler

RATES = [8000, 11025, 12345, 16000, 22050, 24000, 32000, 44100, 48000]


def resample(from_hz: int, samples: np.ndarray, cuts: list[int] | None = None) -> np.ndarray:
    resampler = Resampler(from_hz, 16000, samples.shape[0])
    parts = [resampler.push(part) for part in np.split(samples, cuts or [], axis=1)]
    return np.concatenate([*parts, resampler.flush()], axis=1)


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    num_samples=st.integers(0, 8000),
    cuts=st.lists(st.integers(0, 8000), max_size=30),
    channels=st.integers(1, 2),
)
def test_any_chunking_equals_one_shot(rate: int, num_samples: int, cuts: list[int], channels: int) -> None:
    samples = np.random.default_rng(3).standard_normal((channels, num_samples)).astype(np.float32)
    chunked = resample(rate, samples, sorted(min(cut, num_samples) for cut in cuts))
    assert np.array_equal(chunked, resample(rate, samples))


@pytest.mark.parametrize("rate", RATES)
def test_length_and_signal_are_right(rate: int) -> None:
    """A 1 kHz tone stays the same tone, in place: the filter's delay is removed."""
    samples = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)[np.newaxis]
    resampled = resample(rate, samples)[0]
    assert resampled.dtype == np.float32
    assert abs(len(resampled) - 16000) <= 1
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(resampled)) / 16000)
    assert np.abs(resampled - expected)[500:-500].max() < 1e-3


def test_equal_rates_pass_samples_through_untouched() -> None:
    samples = np.random.default_rng(3).standard_normal((2, 100)).astype(np.float32)
    assert np.array_equal(resample(16000, samples), samples)


def test_a_flushed_resampler_starts_a_new_stream() -> None:
    samples = np.random.default_rng(3).standard_normal((1, 4000)).astype(np.float32)
    resampler = Resampler(8000, 16000, 1)
    first = np.concatenate([resampler.push(samples), resampler.flush()], axis=1)
    again = np.concatenate([resampler.push(samples), resampler.flush()], axis=1)
    assert np.array_equal(first, again)


def test_an_empty_stream_flushes_to_nothing() -> None:
    assert Resampler(44100, 16000, 2).flush().shape == (2, 0)


@pytest.mark.parametrize("rate", [0, 7999, 48001, 192000])
def test_rates_outside_8_to_48_khz_are_bad_audio(rate: int) -> None:
    with pytest.raises(BadAudio, match=f"{rate} Hz"):
        Resampler(rate, 16000, 1)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(BadOption, match=r"\(2, n\) expected"):
        Resampler(8000, 16000, 2).push(np.zeros((1, 10), np.float32))
