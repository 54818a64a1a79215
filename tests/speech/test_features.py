"""Log-mel features: parity with kaldi-native-fbank for every profile, frame arithmetic, bounded memory."""

import tracemalloc

import kaldi_native_fbank as knf
import msgspec
import numpy as np
import pytest

from speech.errors import BadOption
from speech.features import PROFILES, Fbank, FbankConfig, reflect

KALDI = [name for name, config in PROFILES.items() if config.style == "kaldi"]


def voice_like(num_samples: int, sample_rate: int = 16000) -> np.ndarray:
    """Harmonics of a gliding pitch under a syllable-like envelope, with breath noise: no digital silence."""
    rng = np.random.default_rng(11)
    time = np.arange(num_samples) / sample_rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * time)) / sample_rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 30))
    return (0.1 * tone * (0.3 + np.sin(2 * np.pi * 3 * time) ** 2) + 0.003 * rng.standard_normal(num_samples)).astype(
        np.float32
    )


def kaldi_fbank(samples: np.ndarray, config: FbankConfig) -> np.ndarray:
    options = knf.FbankOptions()
    frame = options.frame_opts
    frame.dither, frame.samp_freq, frame.snip_edges = config.dither, config.sample_rate, config.snip_edges
    frame.frame_length_ms, frame.frame_shift_ms = config.frame_length_ms, config.frame_shift_ms
    frame.preemph_coeff, frame.remove_dc_offset = config.preemphasis, config.remove_dc
    frame.window_type = "hanning" if config.window == "hann" else config.window
    options.mel_opts.num_bins = config.num_bins
    options.mel_opts.low_freq, options.mel_opts.high_freq = config.low_hz, config.high_hz
    options.energy_floor = 0.0
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(config.sample_rate, (samples * config.scale).tolist())
    fbank.input_finished()
    frames = [fbank.get_frame(index) for index in range(fbank.num_frames_ready)]
    return np.array(frames, np.float32).reshape(-1, config.num_bins)


@pytest.mark.parametrize("profile", KALDI)
@pytest.mark.parametrize("num_samples", [79, 80, 300, 399, 400, 720, 32000])
def test_every_profile_agrees_with_kaldi(profile: str, num_samples: int) -> None:
    fbank = Fbank(PROFILES[profile])
    samples = voice_like(num_samples)
    expected = kaldi_fbank(samples, fbank.config)
    features = fbank.whole(samples)
    assert features.dtype == np.float32
    assert features.shape == expected.shape == (fbank.num_frames(num_samples), 80)
    assert np.abs(features - expected).max(initial=0.0) < 1e-3


@pytest.mark.parametrize(
    "config",
    [
        FbankConfig(sample_rate=8000, num_bins=40),
        FbankConfig(num_bins=23, window="hann", preemphasis=0.0, remove_dc=False, high_hz=7000.0),
        FbankConfig(frame_length_ms=32.0, frame_shift_ms=8.0, low_hz=60.0, snip_edges=False),
        FbankConfig(sample_rate=22050, scale=1.0),
    ],
)
def test_other_settings_agree_with_kaldi(config: FbankConfig) -> None:
    samples = voice_like(12345, config.sample_rate)
    expected = kaldi_fbank(samples, config)
    features = Fbank(config).whole(samples)
    assert features.shape == expected.shape
    assert np.abs(features - expected).max() < 1e-3


def test_dither_is_kaldis_and_never_the_same_twice() -> None:
    """Of silence the features are those of the noise alone: equal in mean and deviation."""
    config = msgspec.structs.replace(PROFILES["wespeaker"], dither=1.0)
    silence = np.zeros(480_000, np.float32)
    fbank, expected = Fbank(config), kaldi_fbank(silence, config)
    features = fbank.whole(silence)
    np.testing.assert_allclose(features.mean(axis=0), expected.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(features.std(axis=0), expected.std(axis=0), atol=0.15)
    assert not np.array_equal(features, fbank.whole(silence))
    loud = voice_like(32000)
    assert np.abs(fbank.whole(loud) - kaldi_fbank(loud, PROFILES["wespeaker"])).mean() < 0.1


def test_dither_that_drowns_speech_is_refused_with_the_most_that_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"dither 1 on samples of up to 1 drowns speech: at most 0\.001"):
        FbankConfig(scale=1.0, dither=1.0)


@pytest.mark.parametrize("profile", KALDI)
def test_digital_silence_gives_the_floor_and_no_infinity(profile: str) -> None:
    features = Fbank(PROFILES[profile]).whole(np.zeros(1600, np.float32))
    assert np.allclose(features, np.log(1.1920929e-07))


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    fbank = Fbank(PROFILES["wenet"])
    windows = np.stack([voice_like(10_960) * gain for gain in np.linspace(0.01, 1, 33)]).astype(np.float32)
    batch = fbank(windows)
    assert batch.shape == (33, 67, 80)
    for row in (0, 7, 32):
        assert np.abs(batch[row] - fbank(windows[row : row + 1])[0]).max() < 1e-4


def test_long_audio_equals_its_pieces() -> None:
    fbank = Fbank(PROFILES["wenet"])
    samples = voice_like(16000 * 12)
    whole = fbank(samples[np.newaxis])[0]
    assert whole.shape == (1198, 80)
    piece = fbank(samples[np.newaxis, 600 * 160 : 600 * 160 + fbank.num_samples(50)])[0]
    assert np.abs(whole[600:650] - piece).max() < 1e-4


def test_64_windows_need_little_memory() -> None:
    fbank = Fbank(PROFILES["wenet"])
    windows = np.zeros((64, 10_960), np.float32)
    tracemalloc.start()
    try:
        fbank(windows)
        assert tracemalloc.get_traced_memory()[1] < 16e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("shape", "expected"), [((0, 400), (0, 1, 80)), ((3, 0), (3, 0, 80)), ((3, 399), (3, 0, 80))])
def test_no_frames_are_an_empty_array(shape: tuple[int, int], expected: tuple[int, int, int]) -> None:
    assert Fbank(PROFILES["wenet"])(np.zeros(shape, np.float32)).shape == expected


def test_frame_counts_are_those_of_the_published_formulas() -> None:
    """2 s give 198 frames snipped; without, 80 samples are the first to give one."""
    snipped, centred = Fbank(PROFILES["wenet"]), Fbank(PROFILES["icefall"])
    assert [snipped.num_frames(n) for n in (0, 399, 400, 559, 560, 32000)] == [0, 0, 1, 1, 2, 198]
    assert [centred.num_frames(n) for n in (0, 79, 80, 239, 240, 32000)] == [0, 0, 1, 1, 2, 200]
    assert [snipped.num_samples(n) for n in (0, 1, 67, 200)] == [0, 400, 10_960, 32_240]


def test_reflect_repeats_the_edge_sample_as_often_as_it_takes() -> None:
    samples = np.array([1, 2, 3], np.float32)
    assert reflect(samples, 4, 2).tolist() == [3, 3, 2, 1, 1, 2, 3, 3, 2]
    assert reflect(samples[:1], 2, 2).tolist() == [1] * 5
    with pytest.raises(BadOption):
        reflect(samples[:0], 1, 0)


@pytest.mark.parametrize("settings", [{"low_hz": 8000.0}, {"high_hz": 9000.0}, {"frame_shift_ms": 30.0}, {"bins": 80}])
def test_contradicting_or_unknown_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, FbankConfig)
