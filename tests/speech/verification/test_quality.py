"""The hint at what makes a vector unreliable: each fault alone turns good audio into poor."""

from __future__ import annotations

import numpy as np
import pytest

from speech.verification.quality import MAX_SNR_DB, SILENCE_DB, Level, QualityMeter, judge

RATE = 16000


def speech(seconds: float, level: float = 0.2) -> np.ndarray:
    """Bursts of noise with pauses 40 dB below them."""
    count = int(seconds * RATE)
    gate = np.where(np.arange(count) % 8000 < 5600, 1.0, 0.01)
    return (np.random.default_rng(0).standard_normal(count) * gate * level).clip(-0.99, 0.99).astype(np.float32)


def test_length_decides_between_good_fair_and_poor() -> None:
    assert [judge(speech(seconds), RATE).level for seconds in (4, 2, 1)] == [Level.GOOD, Level.FAIR, Level.POOR]


def test_the_level_over_the_pauses_is_measured() -> None:
    assert judge(speech(4), RATE).snr_db == pytest.approx(40, abs=3)


@pytest.mark.parametrize(
    "audio",
    [
        np.sign(speech(4)),
        np.random.default_rng(1).standard_normal(4 * RATE).astype(np.float32) * 0.1,
        speech(4) * 1e-4,
        np.zeros(4 * RATE, np.float32),
        np.zeros(0, np.float32),
    ],
    ids=["clipped", "noise", "faint", "silent", "empty"],
)
def test_each_fault_makes_it_poor(audio: np.ndarray) -> None:
    assert judge(audio, RATE).level is Level.POOR


def test_extremes_stay_finite() -> None:
    silent = judge(np.zeros(RATE, np.float32), RATE)
    assert (silent.level_db, silent.snr_db, silent.clipped_share) == (SILENCE_DB, 0.0, 0.0)
    gated = np.concatenate([np.zeros(RATE, np.float32), np.ones(RATE, np.float32)])
    loud = judge(gated, RATE)
    assert (loud.snr_db, loud.clipped_share) == (MAX_SNR_DB, 0.5)


def test_audio_in_packets_is_judged_as_audio_at_once() -> None:
    audio = speech(4)
    meter = QualityMeter(RATE)
    for begin in range(0, len(audio), 777):
        meter.push(audio[begin : begin + 777])
    whole, parts = judge(audio, RATE), meter.result()
    assert (whole.level, whole.snr_db, whole.clipped_share) == (parts.level, parts.snr_db, parts.clipped_share)
    assert whole.level_db == pytest.approx(parts.level_db)
