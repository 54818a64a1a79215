"""Embed and EmbedStream over real gRPC: vectors equal to the engine's own, whatever the audio's form."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import open_speaker
from protos import recognizer_pb2 as audio
from protos import speaker_pb2 as pb
from server.speaker import models
from speech.diarization.options import VadOptions
from speech.diarization.vad import speech_regions
from tests.server.speaker.support import (
    THREE_D,
    WESPEAKER,
    LoudnessVad,
    config,
    cosine,
    embed_request,
    float32,
    folder_of,
    frozen,
    linear16,
    nothing_left,
    refused,
    speaking,
    vector,
    voice,
)
from tests.server.support import DATA, RATE

CODE = grpc.StatusCode


def expected(samples: np.ndarray, name: str = WESPEAKER) -> np.ndarray:
    engine = open_speaker(inspect_speaker(DATA / "models" / name))
    return engine.embed([engine.features(samples)])[0]


async def streamed(stub: object, data: bytes, size: int, first: pb.EmbedStreamConfig) -> pb.EmbedResponse:
    call = stub.EmbedStream()  # type: ignore[attr-defined]
    await call.write(pb.EmbedStreamRequest(config=first))
    for begin in range(0, len(data), size):
        await call.write(pb.EmbedStreamRequest(audio_content=data[begin : begin + size]))
    await call.done_writing()
    response: pb.EmbedResponse = await call
    return response


@pytest.mark.asyncio
async def test_a_vector_is_the_engines_own_and_says_what_it_is(tmp_path: Path) -> None:
    samples = voice(4.0, 1)
    async with speaking(folder_of(tmp_path, WESPEAKER, THREE_D)) as (server, stub):
        response = await stub.Embed(embed_request(samples, model=WESPEAKER))
        np.testing.assert_allclose(vector(response), expected(samples), rtol=1e-4, atol=1e-5)
        assert (response.dimension, len(response.embedding), response.model) == (32, 32, WESPEAKER)
        assert response.fingerprint == server.speakers.find(WESPEAKER).engine.fingerprint
        assert (response.audio_seconds, response.speech_seconds, response.num_windows) == (4.0, 4.0, 1)
        assert response.quality.level == pb.EmbeddingQuality.GOOD

        other = await stub.Embed(embed_request(samples, model=THREE_D))
        assert other.fingerprint != response.fingerprint
        scaled = await stub.Embed(embed_request(samples, pb.EmbeddingOptions(normalize=True), model=WESPEAKER))
        assert np.linalg.norm(vector(scaled)) == pytest.approx(1, abs=1e-5)
        assert cosine(vector(scaled), vector(response)) == pytest.approx(1, abs=1e-6)


@pytest.mark.asyncio
async def test_every_encoding_rate_and_channel_gives_nearly_the_same_vector(tmp_path: Path) -> None:
    """8 kHz loses half the spectrum and lossy codecs some of it, so those are held to less."""
    samples = voice(4.0, 2)
    at_48k, at_8k = voice(4.0, 2, 48000), voice(4.0, 2, 8000)
    stereo = np.stack([voice(4.0, 9), samples], axis=1)

    def file(data: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
        target = io.BytesIO()
        soundfile.write(target, data, rate, format=kind, subtype=subtype)
        return target.getvalue()

    forms = {
        "linear16": (linear16(samples), config(encoding=audio.LINEAR16), 0.9999),
        "wav": (file(samples, RATE, "WAV"), config(encoding=audio.WAV, sample_rate_hertz=0), 0.9999),
        "flac": (file(samples, RATE, "FLAC"), config(encoding=audio.ENCODING_UNSPECIFIED, sample_rate_hertz=0), 0.9999),
        "48 kHz": (float32(at_48k), config(sample_rate_hertz=48000), 0.9),
        "8 kHz": (float32(at_8k), config(sample_rate_hertz=8000), 0.3),
        "mulaw": (file(samples, RATE, "RAW", "ULAW"), config(encoding=audio.MULAW), 0.9),
        "second channel": (float32(stereo), config(audio_channel_count=2, channel=2), 0.99999),
        "region": (float32(np.concatenate([voice(1.0, 5), samples, voice(1.0, 6)])),
                   config(region=pb.AudioRegion(start_ms=1000, end_ms=5000)), 0.99999),
    }  # fmt: skip
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (_, stub):
        own = vector(await stub.Embed(embed_request(samples)))
        for name, (data, how, least) in forms.items():
            response = await stub.Embed(pb.EmbedRequest(config=how, audio=data))
            assert cosine(vector(response), own) >= least, name
            assert response.audio_seconds == pytest.approx(4.0, abs=1e-3), name
            in_packets = await streamed(stub, data, 3001, pb.EmbedStreamConfig(config=how))
            np.testing.assert_allclose(vector(in_packets), vector(response), rtol=1e-4, atol=1e-4, err_msg=name)
        mixed = await stub.Embed(pb.EmbedRequest(config=config(audio_channel_count=2), audio=float32(stereo)))
        np.testing.assert_allclose(vector(mixed), expected(stereo.mean(axis=1)), rtol=1e-4, atol=1e-4)


BAD_LENGTHS = {0: "0 samples", 399: "399 samples", 400: "400 samples", 719: "719 samples"}
OTHERS: list[tuple[str, pb.EmbedRequest, CODE, str]] = [
    ("NaN", embed_request(np.array([0.1] * 900 + [np.nan], np.float32)), CODE.INVALID_ARGUMENT, "sample 900 .* nan"),
    ("infinity", embed_request(np.array([np.inf] * 900, np.float32)), CODE.INVALID_ARGUMENT, "sample 0 .* inf"),
    ("silence", embed_request(np.zeros(32000, np.float32)), CODE.INVALID_ARGUMENT, "no sound in 2.00 s"),
    ("model", embed_request(voice(1, 1), model="nobody"), CODE.NOT_FOUND, "'nobody' is unknown; .*speaker-wespeaker"),
    ("channel", embed_request(voice(1, 1), channel=2), CODE.INVALID_ARGUMENT, "channel is 2; allowed: 0 to 1"),
    ("rate", embed_request(voice(1, 1), sample_rate_hertz=96000), CODE.INVALID_ARGUMENT, "is 96000; allowed: 8000 to"),
    ("encoding", embed_request(voice(1, 1), encoding=7), CODE.INVALID_ARGUMENT, "encoding 7 is unknown"),
    ("container", pb.EmbedRequest(config=config(encoding=audio.WAV), audio=b"\0" * 99), CODE.INVALID_ARGUMENT, "wav"),
    (
        "region beyond",
        embed_request(voice(1, 1), region=pb.AudioRegion(end_ms=1001)),
        CODE.INVALID_ARGUMENT,
        "region.end_ms is 1001; the audio has 1000 ms",
    ),
    (
        "region after",
        embed_request(voice(1, 1), region=pb.AudioRegion(start_ms=1000)),
        CODE.INVALID_ARGUMENT,
        "region.start_ms is 1000; the audio has 1000 ms",
    ),
    (
        "region backwards",
        embed_request(voice(1, 1), region=pb.AudioRegion(start_ms=500, end_ms=500)),
        CODE.INVALID_ARGUMENT,
        "region.end_ms is 500; allowed: above start_ms",
    ),
    (
        "little speech",
        embed_request(voice(1, 1), pb.EmbeddingOptions(min_speech_ms=1500)),
        CODE.INVALID_ARGUMENT,
        "1000 ms of speech; min_speech_ms is 1500",
    ),
    (
        "no VAD",
        embed_request(voice(1, 1), pb.EmbeddingOptions(trim_silence=True)),
        CODE.FAILED_PRECONDITION,
        "needs a voice activity model",
    ),
]  # fmt: skip


@pytest.mark.asyncio
async def test_every_bad_input_has_its_status_and_leaves_nothing(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (server, stub):
        for length, text in BAD_LENGTHS.items():
            code, details = await refused(stub.Embed(embed_request(voice(1.0, 1)[:length])))
            assert code is CODE.INVALID_ARGUMENT, (length, details)
            assert text in details, details
            assert "needs at least 720" in details, details
            await nothing_left(server)
        for name, request, expected_code, pattern in OTHERS:
            code, details = await refused(stub.Embed(request))
            assert code is expected_code, (name, details)
            assert re.search(pattern, details), (name, details)
            await nothing_left(server)
        shortest = await stub.Embed(embed_request(voice(1.0, 1)[:720]))
        assert np.isfinite(vector(shortest)).all()
        assert shortest.quality.level == pb.EmbeddingQuality.POOR
        clipped = await stub.Embed(embed_request(np.sign(voice(4.0, 1))))
        assert np.isfinite(vector(clipped)).all()
        assert (clipped.quality.level, clipped.quality.clipped_share) == (pb.EmbeddingQuality.POOR, 1.0)


@pytest.mark.asyncio
async def test_a_message_of_forty_megabytes_is_taken_and_one_beyond_the_limit_is_not(tmp_path: Path) -> None:
    samples = np.concatenate([voice(2.0, 1), np.zeros(10_000_000, np.float32)])
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (_, stub):
        large = embed_request(samples, region=pb.AudioRegion(end_ms=2000))
        assert large.ByteSize() > 40_000_000
        response = await stub.Embed(large)

        code, details = await refused(stub.Embed(pb.EmbedRequest(config=config(), audio=b"\0" * (64 << 20))))
        assert (code, "larger than max" in details) == (CODE.RESOURCE_EXHAUSTED, True), details

    assert cosine(vector(response), expected(samples[: 2 * RATE])) > 0.999999


@pytest.mark.asyncio
async def test_streams_that_break_the_protocol_are_refused(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER)) as (server, stub):
        first = pb.EmbedStreamRequest(config=pb.EmbedStreamConfig(config=config()))
        sound = pb.EmbedStreamRequest(audio_content=float32(voice(2.0, 1)))
        bad = pb.EmbedStreamRequest(audio_content=np.full(1000, np.nan, "<f4").tobytes())
        for requests, expected_code, pattern in [
            ([], CODE.FAILED_PRECONDITION, "without a config message"),
            ([sound], CODE.FAILED_PRECONDITION, "first message must carry config"),
            ([first, first], CODE.FAILED_PRECONDITION, "carries no audio_content"),
            ([first], CODE.INVALID_ARGUMENT, "0 samples"),
            ([first, sound, bad, sound], CODE.INVALID_ARGUMENT, "sample 32000 .*nan"),
        ]:
            code, details = await refused(stub.EmbedStream(iter(requests)))
            assert code is expected_code, (details, pattern)
            assert re.search(pattern, details), (details, pattern)
            await nothing_left(server)


@pytest.mark.asyncio
async def test_a_cancelled_stream_takes_its_pieces_with_it(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER), window_s=3) as (server, stub):
        call = stub.EmbedStream()
        await call.write(pb.EmbedStreamRequest(config=pb.EmbedStreamConfig(config=config())))
        await call.write(pb.EmbedStreamRequest(audio_content=float32(voice(20.0, 1))))
        call.cancel()
        await nothing_left(server)
        assert (await stub.Embed(embed_request(voice(1.0, 1)))).dimension == 32


@pytest.mark.asyncio
async def test_long_audio_is_the_weighted_mean_of_its_pieces_whole_or_streamed(tmp_path: Path) -> None:
    """Pieces of 4 s less the tail of 1.5 s: 10 s are 2.5, 2.5, 2.5 and 2.5 s; silent pieces do not count."""
    samples = np.concatenate([voice(5.0, 1), np.zeros(int(2.5 * RATE), np.float32), voice(2.5, 2)])
    cut = [samples[:40000], samples[40000:80000], samples[120000:]]
    wanted = np.mean([expected(piece) for piece in cut], axis=0)
    async with speaking(folder_of(tmp_path, WESPEAKER), window_s=4) as (_, stub):
        whole = await stub.Embed(embed_request(samples))
        np.testing.assert_allclose(vector(whole), wanted, rtol=1e-4, atol=1e-4)
        assert (whole.num_windows, whole.audio_seconds, whole.speech_seconds) == (3, 10.0, 7.5)
        for size in (1001, 64000):
            parts = await streamed(stub, float32(samples), size, pb.EmbedStreamConfig(config=config()))
            assert vector(parts).tolist() == vector(whole).tolist()
            assert parts.num_windows == 3


@pytest.mark.asyncio
async def test_a_graph_of_one_length_hears_audio_of_every_length(tmp_path: Path) -> None:
    engine = open_speaker(inspect_speaker(DATA / "models" / WESPEAKER))

    def repeated(samples: np.ndarray) -> np.ndarray:
        return engine.embed([np.resize(engine.features(samples), (198, 80))])[0]

    short, long = voice(0.6, 1), voice(5.0, 2)
    async with speaking(frozen(tmp_path, 198), max_batch_size=4) as (_, stub):
        responses = await asyncio.gather(*(stub.Embed(embed_request(each)) for each in (short, short, long)))
        for response in responses[:2]:
            np.testing.assert_allclose(vector(response), repeated(short), rtol=1e-4, atol=1e-4)
            assert response.filled_share == pytest.approx(1 - 58 / 198)
        sizes = [31200, 31200, 17600]  # 1.995 s less the model's least audio of 45 ms, and the rest
        pieces = np.split(long, np.cumsum(sizes)[:-1])
        wanted = np.average([repeated(piece) for piece in pieces], axis=0, weights=sizes)
        np.testing.assert_allclose(vector(responses[2]), wanted, rtol=1e-4, atol=1e-4)
        assert responses[2].num_windows == 3
        code, details = await refused(stub.Embed(embed_request(voice(1.0, 1)[:719])))
        assert (code, "needs at least 720" in details) == (CODE.INVALID_ARGUMENT, True)


@pytest.mark.asyncio
async def test_trimming_keeps_the_speech_alone_whole_or_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "SileroVad", LoudnessVad)
    quiet = np.full(RATE, 1e-3, np.float32)
    samples = np.concatenate([quiet, voice(2.0, 1), quiet, voice(3.0, 1), quiet])
    trim = pb.EmbeddingOptions(trim_silence=True)
    async with speaking(folder_of(tmp_path, WESPEAKER, vad=True)) as (_, stub):
        [info] = (await stub.ListSpeakerModels(pb.ListSpeakerModelsRequest())).models
        assert info.has_vad
        whole = await stub.Embed(embed_request(samples, trim))
        assert whole.audio_seconds == 8.0
        assert whole.speech_seconds == pytest.approx(5.0, abs=0.3)
        regions = speech_regions(LoudnessVad().probabilities(samples), len(samples), VadOptions())
        speech = np.concatenate([samples[region.begin : region.end] for region in regions])
        np.testing.assert_allclose(vector(whole), expected(speech), rtol=1e-4, atol=1e-4)
        first = pb.EmbedStreamConfig(config=config(), options=trim)
        for size in (4 * 777, 4 * 40000):
            parts = await streamed(stub, float32(samples), size, first)
            assert parts.speech_seconds == whole.speech_seconds
            np.testing.assert_allclose(vector(parts), vector(whole), rtol=1e-5, atol=1e-6)
        code, details = await refused(stub.Embed(embed_request(np.concatenate([quiet, quiet]), trim)))
        assert code is CODE.INVALID_ARGUMENT
        assert "no speech (vad_threshold 0.5) in 2.00 s" in details


@pytest.mark.asyncio
@pytest.mark.parametrize("batching", ["exact", "fill"])
async def test_a_burst_of_mixed_lengths_gives_what_each_gives_alone(tmp_path: Path, batching: str) -> None:
    voices = [voice(seconds, seed) for seed, seconds in enumerate([1.0, 1.0, 1.05, 1.1, 2.0, 2.0, 2.3, 3.7] * 2)]
    alone = [expected(samples) for samples in voices]
    # The delay, not the speed of this machine, brings the requests together.
    settings = {"batching": batching, "max_batch_size": 8, "max_queue_delay_ms": 500, "workers": 1, "max_fill": 0.2}
    async with speaking(folder_of(tmp_path, WESPEAKER), **settings) as (server, stub):
        responses = await asyncio.gather(*(stub.Embed(embed_request(samples)) for samples in voices))
        sizes = server.speakers.find("").pieces.batcher.stats.batch_size
    cosines = [cosine(vector(response), own) for response, own in zip(responses, alone, strict=True)]
    filled = [response.filled_share for response in responses]
    assert sizes.sum / sizes.count > 1, "the burst was batched"
    if batching == "exact":
        assert min(cosines) >= 0.9999
        assert set(filled) == {0.0}
    else:
        assert min(cosines) >= 0.9
        assert 0 < max(filled) <= 0.2


@pytest.mark.asyncio
async def test_a_full_queue_is_told_at_once(tmp_path: Path) -> None:
    async with speaking(folder_of(tmp_path, WESPEAKER), max_queue_size=1, workers=1) as (_, stub):
        calls = [stub.Embed(embed_request(voice(3.0, seed))) for seed in range(24)]
        endings = await asyncio.gather(*calls, return_exceptions=True)
    codes = {each.code() for each in endings if isinstance(each, grpc.aio.AioRpcError)}
    assert codes <= {CODE.RESOURCE_EXHAUSTED}
    assert any(isinstance(each, pb.EmbedResponse) for each in endings)
