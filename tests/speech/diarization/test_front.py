from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.diarization.front import Cut, DiarizationFront
from speech.diarization.naming import Name, name_speakers
from speech.diarization.options import CHORUS, DiarizationOptions, VadOptions
from speech.diarization.powerset import FRAME_SAMPLES, WINDOW_SAMPLES
from speech.diarization.vad import FRAME_SAMPLES as VAD_FRAME
from speech.diarization.vad import speech_regions
from speech.diarization.windows import cut_windows, filled

OPTIONS = DiarizationOptions()


def feed(audio: np.ndarray, probabilities: list[float], sizes: list[int], *, segments: bool = False) -> list[Cut]:
    """Push in packets of frames; the detector's answers come one frame late, as a real one's may."""
    front, cuts, at, known = DiarizationFront(OPTIONS, segments=segments), [], 0, 0
    for size in [*sizes, len(probabilities)]:
        samples = audio[at * VAD_FRAME : (at + size) * VAD_FRAME]
        at = min(at + size, len(probabilities))
        cuts.append(front.push(samples, np.array(probabilities[known : max(known, at - 1)])))
        known = max(known, at - 1)
    cuts.append(front.flush(np.array(probabilities[known:])))
    return cuts


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 160), st.booleans()), max_size=6), st.lists(st.integers(1, 200), max_size=6))
def test_any_packets_give_the_pieces_of_the_whole(runs: list[tuple[int, bool]], sizes: list[int]) -> None:
    probabilities = [0.9 if talks else 0.0 for length, talks in runs for _ in range(length)]
    audio = np.arange(len(probabilities) * VAD_FRAME, dtype=np.float32)
    expected = cut_windows(speech_regions(probabilities, len(audio), OPTIONS.vad), OPTIONS.windows)

    pieces = [piece for cut in feed(audio, probabilities, sizes) for piece in cut.pieces]

    assert [piece.region for piece in pieces] == expected
    for piece in pieces:
        assert np.array_equal(piece.samples, filled(audio[piece.region.begin : piece.region.end], 24000))


@pytest.mark.parametrize("seconds", [0.5, 10.0, 12.0, 31.0])
def test_segmentation_windows_cover_the_recording_on_one_grid(seconds: float) -> None:
    frames = int(seconds * 16000) // VAD_FRAME
    audio = np.arange(frames * VAD_FRAME, dtype=np.float32) + 1
    windows = [window for cut in feed(audio, [0.0] * frames, [40, 7, 300], segments=True) for window in cut.windows]

    covered = np.zeros(len(audio), np.bool_)
    for window in windows:
        begin = window.first_frame * FRAME_SAMPLES
        covered[begin : begin + WINDOW_SAMPLES] = True
        assert len(window.samples) == WINDOW_SAMPLES
        held = audio[begin : begin + WINDOW_SAMPLES]
        assert np.array_equal(window.samples[: len(held)], held)
        assert not window.samples[len(held) :].any()
    assert covered.all()
    assert len({right.first_frame - left.first_frame for left, right in pairwise(windows)}) <= 1


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_hours_of_silence_or_speech_keep_little_audio(probability: float) -> None:
    front = DiarizationFront(CHORUS, segments=True)
    second = np.zeros(31 * VAD_FRAME, np.float32)
    for _ in range(900):
        front.push(second, np.full(31, probability))

    assert front._tail.end - front._tail._begin < 14 * 16000


def test_speech_is_counted_when_its_regions_are_complete() -> None:
    front = DiarizationFront(DiarizationOptions(vad=VadOptions(pad_ms=0)), segments=False)
    front.push(np.zeros(100 * VAD_FRAME, np.float32), np.array([0.0] * 10 + [1.0] * 50 + [0.0] * 40))

    assert front.speech_samples == 50 * VAD_FRAME


def test_names_are_given_once_and_to_the_most_like() -> None:
    enrolled = np.eye(3, dtype=np.float32)
    speakers = np.array([[1, 0.2, 0], [1, 0.1, 0], [0, 0.5, 1], [0.6, 0.6, 0.6]], np.float32)

    names = name_speakers(speakers, enrolled, 0.7)

    assert names[0] is None
    assert names[1] == Name(0, pytest.approx(0.995, abs=1e-3))
    assert names[2] == Name(2, pytest.approx(0.894, abs=1e-3))
    assert names[3] is None


def test_without_speakers_or_enrolled_there_are_no_names() -> None:
    assert name_speakers(np.zeros((0, 3), np.float32), np.eye(3, dtype=np.float32), 0.5) == []
    assert name_speakers(np.eye(3, dtype=np.float32), np.zeros((0, 3), np.float32), 0.5) == [None] * 3
