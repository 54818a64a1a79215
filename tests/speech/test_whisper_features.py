"""Whisper's features: mel energies against kaldi-native-fbank's, and OpenAI's normalisation written out."""

import kaldi_native_fbank as knf
import msgspec
import numpy as np
import pytest

from speech.features import PROFILES, Fbank
from speech.framing import Framer, Framing
from tests.speech.test_features import voice_like

WHISPER = PROFILES["whisper"]


def mel_energies(samples, num_bins):
    """As sherpa-onnx's feature extractor makes them."""
    options = knf.WhisperFeatureOptions()
    options.dim = num_bins
    fbank = knf.OnlineWhisperFbank(options)
    fbank.accept_waveform(16000, samples.tolist())
    fbank.input_finished()
    frames = [fbank.get_frame(index) for index in range(fbank.num_frames_ready)]
    return np.array(frames, np.float32).reshape(-1, num_bins)


def normalised(energies):
    """As whisper/audio.py, log_mel_spectrogram."""
    logs = np.log10(np.clip(energies, 1e-10, None))
    return (np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0


@pytest.mark.parametrize("num_bins", [80, 128])
@pytest.mark.parametrize("num_samples", [80, 300, 400, 720, 16000])
def test_a_recording_is_heard_as_in_sherpa_onnx(num_samples, num_bins):
    samples = voice_like(num_samples)
    fbank = Fbank(msgspec.structs.replace(WHISPER, num_bins=num_bins))
    expected = mel_energies(samples, num_bins)
    features = fbank.whole(samples)
    assert features.dtype == np.float32
    assert features.shape == expected.shape
    assert np.abs(features - normalised(expected)).max() < 1e-3


def test_each_window_of_a_stream_is_normalised_for_itself():
    fbank = Fbank(WHISPER)
    framing = Framing(window_frames=45, stride_frames=32, subsampling=4, right_context=16, fbank=WHISPER)
    framer, samples = Framer(framing), voice_like(16000) * np.linspace(0.001, 1, 16000, dtype=np.float32)
    cut = [*framer.push(samples), *framer.flush()]
    energies = mel_energies(samples, 80)
    features = fbank.windows(np.stack([w.samples for w in cut]), [w.num_frames for w in cut])
    assert [w.num_frames for w in cut][-1] < 45
    for row, window in zip(features, cut, strict=True):
        mine = energies[window.start_frame : window.start_frame + window.num_frames]
        padded = np.concatenate([mine, np.zeros((45 - len(mine), 80), np.float32)])
        assert np.abs(row - normalised(padded)).max() < 1e-3
    assert features[0].max() < features[-1].max() - 0.1, "loudness is kept"


def test_silence_is_finite_and_padding_is_silence():
    fbank = Fbank(WHISPER)
    assert np.allclose(fbank.whole(np.zeros(1600, np.float32)), (-10 + 4) / 4)
    assert WHISPER.row_pad_value == (-10 + 4) / 4
    assert fbank.windows(np.zeros((1, 4000), np.float32), [3]).min() == pytest.approx((-10 + 4) / 4)  # log10 rounds
