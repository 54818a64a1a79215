"""PCM decoding: values by G.711 and by format, any packet cut, damaged floats refused."""

import itertools
import subprocess
import sys

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.audio import Encoding, PcmDecoder
from speech.errors import BadAudio, BadOption

RAW = [Encoding.LINEAR16, Encoding.FLOAT32, Encoding.MULAW, Encoding.ALAW]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-32768, 32767), max_size=120),
    cuts=st.lists(st.integers(0, 500), max_size=12),
    encoding=st.sampled_from(RAW),
    channels=st.integers(1, 3),
)
def test_any_cut_of_the_bytes_gives_the_same_samples(
    values: list[int], cuts: list[int], encoding: Encoding, channels: int
) -> None:
    dtype = {Encoding.LINEAR16: "<i2", Encoding.FLOAT32: "<f4"}.get(encoding, "u1")
    numbers = np.array(values, np.int64)
    data = (numbers & 0xFF if dtype == "u1" else numbers).astype(dtype).tobytes()
    whole = PcmDecoder(encoding, channels).push(data)
    decoder = PcmDecoder(encoding, channels)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [decoder.push(data[start:end]) for start, end in itertools.pairwise(bounds)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


def test_linear16_is_little_endian_and_full_scale_is_one() -> None:
    samples = PcmDecoder(Encoding.LINEAR16, 1).push(b"\x00\x80\xff\x7f\x01\x00")
    assert samples.dtype == np.float32
    assert samples.tolist() == [[-1.0, 32767 / 32768, 1 / 32768]]


def test_channels_are_interleaved() -> None:
    data = np.array([1, -1, 2, -2, 3, -3], "<f4").tobytes()
    assert PcmDecoder(Encoding.FLOAT32, 2).push(data).tolist() == [[1, 2, 3], [-1, -2, -3]]


@pytest.mark.parametrize(("encoding", "codec"), [(Encoding.MULAW, "pcm_mulaw"), (Encoding.ALAW, "pcm_alaw")])
def test_all_256_companded_values_equal_those_of_libav(encoding: Encoding, codec: str) -> None:
    context = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = 8000, "mono"
    frames = context.decode(av.Packet(bytes(range(256))))
    expected = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    ours = PcmDecoder(encoding, 1).push(bytes(range(256)))[0] * 32768
    assert np.array_equal(ours, expected)


def test_a_partial_sample_at_the_end_is_dropped() -> None:
    decoder = PcmDecoder(Encoding.LINEAR16, 1)
    assert decoder.push(b"\x01\x00\x02").shape == (1, 1)
    decoder.flush()
    assert decoder.push(b"\x01\x00").tolist() == [[1 / 32768]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_floats_no_recording_can_hold_are_named_by_position(value: float) -> None:
    decoder = PcmDecoder(Encoding.FLOAT32, 1)
    decoder.push(np.zeros(100, "<f4").tobytes())
    with pytest.raises(BadAudio, match=r"sample 102 of channel 0"):
        decoder.push(np.array([0, 0, value, 0], "<f4").tobytes())


def test_overdriven_floats_are_kept() -> None:
    assert PcmDecoder(Encoding.FLOAT32, 1).push(np.array([1.5], "<f4").tobytes()).tolist() == [[1.5]]


@pytest.mark.parametrize("channels", [0, -1, 33])
def test_impossible_channel_counts_are_refused(channels: int) -> None:
    with pytest.raises(BadOption, match="1 to 32"):
        PcmDecoder(Encoding.LINEAR16, channels)


def test_containers_are_not_pcm() -> None:
    assert [encoding for encoding in Encoding if not encoding.is_container] == RAW
    with pytest.raises(BadOption, match="linear16"):
        PcmDecoder(Encoding.FLAC, 1)


def test_reading_pcm_loads_neither_numba_nor_libav() -> None:
    script = "import speech.audio, sys; print([name for name in ('av', 'numba', 'soxr') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
