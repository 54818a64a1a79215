"""Windows: any packet cut gives the same ones, and their encoder frames add up to those of the whole audio."""

import itertools

import kaldi_native_fbank as knf
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.features import PROFILES, Fbank, FbankConfig
from speech.framing import Framer, Framing, Window

SNIPPED = PROFILES["wenet"]
CENTRED = PROFILES["sherpa-onnx-wenet"]
CHUNK_16 = Framing.for_chunk(16, 4, 6, SNIPPED)


def noise(num_samples: int, seed: int = 7) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(num_samples) * 0.1).astype(np.float32)


def windows_of(framing: Framing, samples: np.ndarray, cuts: list[int] | None = None) -> list[Window]:
    framer = Framer(framing)
    windows = [window for packet in np.split(samples, cuts or []) for window in framer.push(packet)]
    return windows + framer.flush()


def assert_same(left: list[Window], right: list[Window]) -> None:
    assert len(left) == len(right)
    for ours, theirs in zip(left, right, strict=True):
        assert np.array_equal(ours.samples, theirs.samples)
        assert ours.num_frames == theirs.num_frames
        assert ours.start_frame == theirs.start_frame
        assert ours.is_last == theirs.is_last


@settings(max_examples=40, deadline=None)
@given(
    num_samples=st.integers(0, 50_000),
    cuts=st.lists(st.integers(0, 50_000), max_size=40),
    fbank=st.sampled_from([SNIPPED, CENTRED]),
    chunk=st.sampled_from([1, 4, 16]),
)
def test_any_cut_into_packets_gives_bit_identical_windows(
    num_samples: int, cuts: list[int], fbank: FbankConfig, chunk: int
) -> None:
    framing = Framing.for_chunk(chunk, 4, 6, fbank)
    samples = noise(num_samples)
    assert_same(
        windows_of(framing, samples, sorted(min(cut, num_samples) for cut in cuts)), windows_of(framing, samples)
    )


@pytest.mark.parametrize("fbank", [SNIPPED, CENTRED], ids=["snipped", "centred"])
def test_packets_of_one_sample_and_one_of_minutes_give_the_same_windows(fbank: FbankConfig) -> None:
    framing = Framing.for_chunk(16, 4, 6, fbank)
    short = noise(13_000)
    assert_same(windows_of(framing, short, list(range(1, 13_000))), windows_of(framing, short))
    long = noise(16_000 * 120)
    assert_same(windows_of(framing, long, list(range(0, len(long), 9_973))), windows_of(framing, long))


def edge_lengths(framing: Framing) -> list[int]:
    """Sample counts around every place where a frame, an encoder frame, a window or a stride begins."""
    fbank = framing.fbank
    frames = [0, 1, framing.context, framing.window_frames, framing.stride_frames, framing.subsampling]
    totals = {max(0, frame + k * framing.stride_frames + d) for frame in frames for k in (0, 1, 2) for d in (-1, 0, 1)}
    exact = {0, 1, 79, 80, 81, 119, 120, 121, 199, 200, 201, 279, 280, 281, 399, 400, 401, 11_040}
    for frame in totals:
        for base in (fbank.num_samples(frame), frame * fbank.frame_shift, frame * fbank.frame_shift + 80):
            exact.update(max(0, base + d) for d in (-1, 0, 1))
    return sorted(exact)


@pytest.mark.parametrize("fbank", [SNIPPED, CENTRED], ids=["snipped", "centred"])
@pytest.mark.parametrize(("subsampling", "right_context"), [(4, 6), (6, 10), (8, 14), (2, 4)])
@pytest.mark.parametrize("chunk", [1, 2, 16])
def test_streaming_encoder_frames_equal_those_of_the_whole_audio(
    fbank: FbankConfig, subsampling: int, right_context: int, chunk: int
) -> None:
    framing = Framing.for_chunk(chunk, subsampling, right_context, fbank)
    samples = noise(max(edge_lengths(framing)))
    for num_samples in edge_lengths(framing):
        windows = windows_of(framing, samples[:num_samples])
        streamed = sum(framing.encoder_frames(window.num_frames) for window in windows)
        assert streamed == framing.encoder_frames(fbank.num_frames(num_samples)), num_samples
        assert [window.start_frame for window in windows] == [k * framing.stride_frames for k in range(len(windows))]


@pytest.mark.parametrize("fbank", [SNIPPED, CENTRED], ids=["snipped", "centred"])
@pytest.mark.parametrize("num_samples", [80, 1360, 1500, 11_039, 11_040, 11_200, 21_280, 21_399, 33_333])
def test_window_features_equal_kaldi_features_of_the_whole_signal(fbank: FbankConfig, num_samples: int) -> None:
    framing = msgspec.structs.replace(Framing.for_chunk(16, 4, 6, fbank), min_frames=1)
    samples = noise(num_samples)
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = fbank.snip_edges
    options.mel_opts.num_bins = fbank.num_bins
    options.mel_opts.high_freq = fbank.high_hz
    options.energy_floor = 0.0
    kaldi = knf.OnlineFbank(options)
    kaldi.accept_waveform(16_000, (samples * fbank.scale).tolist())
    kaldi.input_finished()
    expected = {index: kaldi.get_frame(index) for index in range(kaldi.num_frames_ready)}
    seen: set[int] = set()
    compute = Fbank(fbank)
    for window in windows_of(framing, samples):
        features = compute(window.samples[np.newaxis])[0, : window.num_frames]
        for offset, row in enumerate(features):
            seen.add(window.start_frame + offset)
            assert np.abs(row - expected[window.start_frame + offset]).max() < 1e-3
    assert seen == set(expected)


def test_an_empty_stream_has_no_windows() -> None:
    for fbank in (SNIPPED, CENTRED):
        assert windows_of(Framing.for_chunk(16, 4, 6, fbank), noise(0)) == []


@pytest.mark.parametrize(("num_samples", "num_frames"), [(1359, 0), (1360, 7), (8_000, 48), (10_959, 66)])
def test_an_utterance_below_one_window_comes_at_the_flush(num_samples: int, num_frames: int) -> None:
    framer = Framer(CHUNK_16)
    assert framer.push(noise(num_samples)) == []
    windows = framer.flush()
    assert [window.num_frames for window in windows] == ([num_frames] if num_frames else [])
    assert all(window.is_last for window in windows)


def test_the_first_window_needs_685_ms_and_each_later_one_640_ms() -> None:
    """The 690 ms of WeNet's clients are 67 frames (10960 samples) rounded up to whole shifts."""
    framer = Framer(CHUNK_16)
    assert framer.push(noise(10_959)) == []
    assert len(framer.push(noise(1))) == 1
    assert framer.push(noise(10_239)) == []
    assert len(framer.push(noise(1))) == 1
    assert framer.num_samples == 21_200


def test_a_window_is_zero_from_the_end_of_its_last_valid_frame_on() -> None:
    (window,) = windows_of(CHUNK_16, np.ones(1_500, np.float32))
    assert window.samples.shape == (10_960,)
    assert window.samples[:1_360].all()
    assert not window.samples[1_360:].any()


def test_a_smaller_min_frames_lets_shorter_tails_through() -> None:
    framing = msgspec.structs.replace(CHUNK_16, min_frames=4)
    (window,) = windows_of(framing, noise(400 + 3 * 160))
    assert window.num_frames == 4
    assert framing.encoder_frames(4) == 0
    assert framing.encoder_frames(4, exact=False) == 1


@pytest.mark.parametrize(
    ("layers", "subsampling", "right_context"),
    [([(3, 2), (3, 2)], 4, 6), ([(3, 2), (5, 3)], 6, 10), ([(3, 2), (3, 2), (3, 2)], 8, 14)],
)
def test_encoder_frames_count_what_the_convolutions_give(
    layers: list[tuple[int, int]], subsampling: int, right_context: int
) -> None:
    framing = Framing.for_chunk(16, subsampling, right_context, SNIPPED)
    for num_frames in range(400):
        expected = num_frames
        for kernel, stride in layers:
            expected = 0 if expected < kernel else (expected - kernel) // stride + 1
        assert framing.encoder_frames(num_frames) == expected
        if subsampling == 4:
            assert expected == max(0, (num_frames - 3) // 4)


@pytest.mark.parametrize(("chunk", "window", "stride"), [(4, 19, 16), (8, 35, 32), (16, 67, 64), (32, 131, 128)])
def test_chunks_give_the_windows_of_the_published_models(chunk: int, window: int, stride: int) -> None:
    framing = Framing.for_chunk(chunk, 4, 6, SNIPPED)
    assert (framing.window_frames, framing.stride_frames, framing.chunk) == (window, stride, chunk)


def test_minutes_of_audio_are_cut_one_window_at_a_time() -> None:
    framer = Framer(CHUNK_16)
    windows = framer.push_iter(noise(16_000 * 60))
    first = next(windows)
    with pytest.raises(SpeechError, match="not exhausted"):
        framer.push(noise(1))
    rest = list(windows)
    assert_same([first, *rest, *framer.flush()], windows_of(CHUNK_16, noise(16_000 * 60)))


def test_memory_stays_flat_over_an_hour() -> None:
    framer = Framer(CHUNK_16)
    packet = noise(16_000 * 60)
    size = framer._buffer.nbytes
    num_windows = sum(1 for _ in range(60) for _ in framer.push_iter(packet))
    assert num_windows == (16_000 * 3600 - 10_960) // 10_240 + 1
    assert framer._buffer.nbytes == size < 300_000


def test_nothing_is_taken_after_the_flush_until_a_reset() -> None:
    framer = Framer(CHUNK_16)
    framer.push(noise(12_345))
    framer.flush()
    for late in (lambda: framer.push(noise(1)), framer.flush):
        with pytest.raises(SpeechError, match="flushed"):
            late()
    framer.reset()
    again = list(itertools.chain(framer.push(noise(30_000)), framer.flush()))
    assert_same(again, windows_of(CHUNK_16, noise(30_000)))


def test_samples_of_several_channels_are_refused() -> None:
    with pytest.raises(SpeechError, match=r"\(n,\) expected"):
        Framer(CHUNK_16).push(np.zeros((2, 10), np.float32))


def test_windows_that_skip_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="below the stride"):
        Framing(window_frames=60, stride_frames=64, subsampling=4, right_context=6)
