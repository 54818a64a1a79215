"""Bytes to samples at the model's rate: any packet cut gives the same audio, for every kind of encoding."""

import asyncio
import io
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from server.decoding import decode_whole
from server.errors import BadRequest
from server.intake import Intake, open_intake
from server.options import AudioFormat
from speech.audio import Encoding
from speech.errors import BadAudio

TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(24000) / 16000)).astype(np.float32)


@pytest.fixture(name="threads", scope="module")
def _threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def container(kind: str, subtype: str | None = None, rate: int = 16000, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.stack([TONE] * channels, axis=1), rate, format=kind, subtype=subtype)
    return stream.getvalue()


async def collect(intake: Intake, data: bytes, cuts: list[int]) -> np.ndarray:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    parts = []
    for begin, end in itertools.pairwise(edges):
        parts += [samples async for samples in intake.push(data[begin:end])]
    parts += [samples async for samples in intake.finish()]
    intake.close()
    return np.concatenate(parts, axis=1) if parts else np.zeros((0, 0), np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@given(cuts=st.lists(st.integers(0, 10**6), max_size=12))
def test_any_cut_of_raw_audio_gives_the_same_samples(threads: ThreadPoolExecutor, rate: int, cuts: list[int]) -> None:
    async def run() -> None:
        data = (TONE * 32767).astype("<i2").tobytes()
        audio = AudioFormat(Encoding.LINEAR16, rate, 1)
        whole = await collect(open_intake(audio, 16000, threads), data, [])
        parts = await collect(open_intake(audio, 16000, threads), data, cuts)
        assert parts.shape == whole.shape
        np.testing.assert_allclose(parts, whole, atol=1e-6)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "ULAW"), ("FLAC", None), ("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", None)],
)
@pytest.mark.asyncio
async def test_any_cut_of_a_container_gives_the_same_samples(
    threads: ThreadPoolExecutor, kind: str, subtype: str | None
) -> None:
    data = container(kind, subtype)
    audio = AudioFormat(Encoding.AUTO, 0, 0)
    whole = await collect(open_intake(audio, 16000, threads), data, [])
    assert abs(whole.shape[1] - len(TONE)) <= (2400 if kind == "MP3" else 1)
    for cuts in ([1, 2, 3], [len(data) // 2], list(range(0, len(data), 997))):
        parts = await collect(open_intake(audio, 16000, threads), data, cuts)
        np.testing.assert_array_equal(parts, whole)


@pytest.mark.asyncio
async def test_samples_of_a_container_come_before_its_end(threads: ThreadPoolExecutor) -> None:
    data = container("WAV", "PCM_16")
    intake = open_intake(AudioFormat(Encoding.WAV, 0, 0), 16000, threads)
    early = [samples async for samples in intake.push(data[: len(data) // 2])]
    assert sum(part.shape[1] for part in early) > len(TONE) // 4
    intake.close()


@pytest.mark.asyncio
async def test_a_header_that_contradicts_the_request_is_refused(threads: ThreadPoolExecutor) -> None:
    data = container("WAV", "PCM_16", channels=2)
    with pytest.raises(BadRequest, match="sample_rate_hertz is 8000, but the audio's header says 16000"):
        await collect(open_intake(AudioFormat(Encoding.WAV, 8000, 0), 16000, threads), data, [])
    with pytest.raises(BadRequest, match="audio_channel_count is 1, but the audio's header says 2"):
        await collect(open_intake(AudioFormat(Encoding.WAV, 0, 1), 16000, threads), data, [])


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.asyncio
async def test_opus_is_known_by_any_rate_that_it_has_as_in_other_services(
    threads: ThreadPoolExecutor, rate: int
) -> None:
    """It is decoded at 48 kHz whatever was recorded, and clients of Google or Riva state what was."""
    data = container("OGG", "OPUS")
    expected = await collect(open_intake(AudioFormat(Encoding.OGG, 0, 0), 16000, threads), data, [])
    stated = AudioFormat(Encoding.OGG, rate, 1)
    np.testing.assert_array_equal(await collect(open_intake(stated, 16000, threads), data, []), expected)
    np.testing.assert_array_equal(await decode_whole(threads, stated, 16000, data, 60.0, "limit"), expected)
    for other, kind in ((44100, "OPUS"), (8000, "VORBIS")):
        with pytest.raises(BadRequest, match=f"sample_rate_hertz is {other}, but the audio's header says"):
            await decode_whole(
                threads, AudioFormat(Encoding.OGG, other, 1), 16000, container("OGG", kind), 60.0, "limit"
            )


@pytest.mark.asyncio
async def test_bytes_that_are_no_audio_are_refused_and_free_the_thread(threads: ThreadPoolExecutor) -> None:
    for _ in range(8):  # more than there are threads
        with pytest.raises(BadAudio):
            await collect(open_intake(AudioFormat(Encoding.AUTO, 0, 0), 16000, threads), b"no audio at all " * 400, [])


@pytest.mark.asyncio
async def test_an_abandoned_container_frees_its_thread(threads: ThreadPoolExecutor) -> None:
    data = container("FLAC")
    for _ in range(8):
        intake = open_intake(AudioFormat(Encoding.FLAC, 0, 0), 16000, threads)
        async for _samples in intake.push(data[: len(data) // 3]):
            pass
        intake.close()
    done = threads.submit(lambda: True)
    assert await asyncio.wait_for(asyncio.wrap_future(done), 5)
