"""What a client hears, over real gRPC: the same text for any packet cut, any neighbours, any encoding; shutdown."""

from __future__ import annotations

import asyncio
import io
from importlib.resources import files
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server.app import start_server
from speech.audio import Encoding
from speech.containers import decode
from speech.scoring import score_pairs
from tests.server.support import (
    RATE,
    comparable,
    config_message,
    eventually,
    finals,
    linear16,
    packets,
    rest,
    running,
    speech_like,
    stream,
    tiny_config,
)

CODE = grpc.StatusCode
METHODS = (pb.CTC_GREEDY, pb.CTC_PREFIX_BEAM, pb.ATTENTION_RESCORING)
EVERYTHING = {"enable_word_time_offsets": True, "enable_token_time_offsets": True, "max_alternatives": 5}


def decoding(method: pb.DecodingMethod.ValueType) -> pb.DecodingConfig:
    return pb.DecodingConfig(method=method)


@given(cuts=st.lists(st.integers(0, 10**6), max_size=30), seed=st.integers(0, 3))
@settings(max_examples=15)
def test_any_packet_cut_gives_the_same_result(cuts: list[int], seed: int) -> None:
    async def run() -> None:
        data = linear16(speech_like(2.3, seed))
        async with running(tiny_config()) as (_, stub):
            for method in METHODS:
                whole = await stream(stub, [data], decoding=decoding(method), **EVERYTHING)
                parts = await stream(stub, packets(data, cuts), decoding=decoding(method), **EVERYTHING)
                assert comparable(parts) == comparable(whole) != []

    asyncio.run(run())


@pytest.mark.asyncio
async def test_one_byte_packets_give_the_same_result() -> None:
    data = linear16(speech_like(0.4, 1))
    async with running(tiny_config()) as (_, stub):
        whole = await stream(stub, [data])
        assert finals(whole)
        assert comparable(await stream(stub, [data[i : i + 1] for i in range(len(data))])) == comparable(whole)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.asyncio
async def test_a_stream_hears_nothing_of_its_neighbours(lanes: int) -> None:
    """Streams of every length together, each as if alone, for every method at once."""
    lengths = [0.0, 0.03, 0.2, 0.5, 0.69, 0.7, 1.4, 2.2, 3.1]
    jobs = [(length, method, seed) for seed, length in enumerate(lengths) for method in METHODS]

    config = tiny_config(streaming={"max_streams": 32}, engine={"threads": lanes, "lanes": lanes})
    async with running(config) as (_, stub):

        async def one(job: tuple[float, pb.DecodingMethod.ValueType, int]) -> list[tuple[object, ...]]:
            length, method, seed = job
            data = linear16(speech_like(length, seed))
            cuts = range(0, len(data), 1600 + 320 * seed)
            return comparable(await stream(stub, packets(data, cuts), decoding=decoding(method), **EVERYTHING))

        alone = [await one(job) for job in jobs]
        assert any(alone)
        assert await asyncio.gather(*map(one, jobs)) == alone


@pytest.mark.asyncio
async def test_speech_is_understood_alike_alone_in_one_packet_and_together_in_small_ones() -> None:
    """Real words, by the embedded model: the tiny one of the other tests says little, they compare its scores."""
    demo = Path(str(files("models"))) / "demo"
    pairs = [row.split("\t") for row in (demo / "demo.tsv").read_text(encoding="utf-8").splitlines()]
    async with running(tiny_config(Path("embedded"))) as (_, stub):

        async def told(name: str, size: int) -> list[tuple[object, ...]]:
            data = (demo / name).read_bytes()
            cut = packets(data, range(0, len(data), size))
            return comparable(await stream(stub, cut, encoding=pb.FLAC, sample_rate_hertz=0, **EVERYTHING))

        alone = [await told(name, 10**6) for name, _ in pairs]
        assert await asyncio.gather(*(told(name, 700 + 90 * n) for n, (name, _) in enumerate(pairs))) == alone
    heard = [" ".join(best[0][0] for *_, best in each) for each in alone]
    assert score_pairs(zip([text for _, text in pairs], heard, strict=True)).total.rate <= 0.25


@pytest.mark.asyncio
async def test_partials_grow_and_finals_come_once_per_segment() -> None:
    async with running(tiny_config()) as (_, stub):
        responses = await stream(stub, packets(linear16(speech_like(4)), range(0, 200000, 3200)), interim_results=True)
        results = [result for each in responses for result in each.results]
        segments = [result.segment for result in results if result.is_final]
        assert segments == sorted(set(segments))
        assert any(not result.is_final for result in results)
        heard = [result.audio_processed for result in results]
        assert heard == sorted(heard)
        events = [each.event.type for each in responses if each.HasField("event")]
        assert events[0] == pb.SpeechEvent.SPEECH_START
        assert events[-1] == pb.SpeechEvent.END_OF_STREAM
        quiet = await stream(stub, [linear16(speech_like(4))])
        assert finals(quiet)
        assert all(result.is_final for each in quiet for result in each.results)


@pytest.mark.asyncio
async def test_a_packet_of_a_minute_gives_the_result_of_small_ones() -> None:
    data = linear16(np.tile(speech_like(6.0, 9), 10))
    async with running(tiny_config()) as (_, stub):
        whole = await stream(stub, [data], decoding=decoding(pb.CTC_GREEDY))
        parts = await stream(stub, packets(data, range(0, len(data), 9001)), decoding=decoding(pb.CTC_GREEDY))
        assert len(finals(whole)) == 3  # segments of 20 s
        assert comparable(parts) == comparable(whole)


def file_of(samples: np.ndarray, kind: str, subtype: str | None = None) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, RATE, format=kind, subtype=subtype)
    return data.getvalue()


@pytest.mark.parametrize(
    ("encoding", "kind", "subtype"),
    [
        (pb.WAV, "WAV", "PCM_16"),
        (pb.FLAC, "FLAC", None),
        (pb.OGG, "OGG", "OPUS"),
        (pb.OGG, "OGG", "VORBIS"),
        (pb.MP3, "MP3", None),
        (pb.MULAW, "RAW", "ULAW"),
        (pb.ALAW, "RAW", "ALAW"),
    ],
)
@pytest.mark.asyncio
async def test_every_encoding_gives_the_text_of_its_samples(
    encoding: pb.AudioEncoding.ValueType, kind: str, subtype: str | None
) -> None:
    """The samples decoded by another library or in one piece, sent as float32, against the bytes in small packets."""
    data, rate, names = file_of(speech_like(2.0, 2), kind, subtype), RATE, [encoding]
    if kind == "RAW":
        samples, _ = soundfile.read(
            io.BytesIO(data), dtype="float32", format=kind, subtype=subtype, samplerate=RATE, channels=1
        )
    else:
        blocks = list(decode(io.BytesIO(data), Encoding.AUTO))
        samples, rate = np.concatenate([block.samples[0] for block in blocks]), blocks[0].sample_rate
        names.append(pb.ENCODING_UNSPECIFIED)
    async with running(tiny_config()) as (_, stub):
        plain = samples.astype("<f4").tobytes()
        expected = comparable(await stream(stub, [plain], encoding=pb.FLOAT32, sample_rate_hertz=rate))
        assert expected
        for name in names:
            parts = packets(data, range(0, len(data), 401))
            assert comparable(await stream(stub, parts, encoding=name)) == expected


@pytest.mark.asyncio
async def test_channels_are_recognised_apart_and_tagged() -> None:
    left, right = speech_like(2.0, 3), speech_like(2.0, 4)
    both = linear16(np.stack([left, right], axis=1).ravel())
    async with running(tiny_config()) as (_, stub):
        alone = [comparable(await stream(stub, [linear16(each)], **EVERYTHING)) for each in (left, right)]
        assert [] not in alone
        assert alone[0] != alone[1]
        cut = packets(both, range(0, len(both), 6400))
        told = comparable(await stream(stub, cut, audio_channel_count=2, **EVERYTHING))
        for tag in (1, 2):
            assert [(0, *rest_of) for of, *rest_of in told if of == tag] == alone[tag - 1]


@pytest.mark.asyncio
async def test_unary_and_streaming_agree_on_the_models() -> None:
    async with running(tiny_config()) as (_, stub):
        models = (await stub.ListModels(pb.ListModelsRequest())).models
        assert [model.is_default for model in models] == [True]
        assert models[0].streaming
        config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=RATE, model=models[0].name)
        data = linear16(speech_like(2.0, 5))
        unary = await stub.Recognize(pb.RecognizeRequest(config=config, audio=data))
        assert unary.results
        assert [r.alternatives[0].transcript for r in unary.results] == finals(await stream(stub, [data]))
        assert unary.audio_processed == pytest.approx(2.0, abs=0.01)


@pytest.mark.asyncio
async def test_flags_may_change_in_mid_stream() -> None:
    data = linear16(speech_like(3.0, 6))
    async with running(tiny_config()) as (_, stub):
        call = stub.StreamingRecognize()
        await call.write(config_message())
        await call.write(pb.StreamingRecognizeRequest(audio_content=data[:32000]))
        await call.write(config_message(interim_results=True, enable_word_time_offsets=True))
        await call.write(pb.StreamingRecognizeRequest(audio_content=data[32000:]))
        await call.done_writing()
        results = [result for each in [each async for each in call] for result in each.results]
        assert any(not result.is_final for result in results)
        assert [bool(result.alternatives[0].words) for result in results if result.is_final] == [True]


@pytest.mark.asyncio
async def test_single_utterance_ends_after_its_endpoint() -> None:
    short = pb.EndpointingConfig(rule3=pb.EndpointRule(min_utterance_ms=1000, must_contain_text=True))
    async with running(tiny_config()) as (_, stub):
        call = stub.StreamingRecognize()
        await call.write(config_message(single_utterance=True, endpointing_config=short))
        await call.write(pb.StreamingRecognizeRequest(audio_content=linear16(speech_like(6.0, 7))))
        responses = [each async for each in call]  # ends although the client did not
        assert len(finals(responses)) == 1
        assert [each.event.rule for each in responses if each.event.type == pb.SpeechEvent.ENDPOINT] == ["rule3"]


@pytest.mark.asyncio
async def test_health_and_reflection_speak_for_the_service() -> None:
    async with start_server(tiny_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "chorus.v1.Recognizer"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        names = [each.name async for answer in call for each in answer.list_services_response.service]
        assert "chorus.v1.Recognizer" in names


@pytest.mark.asyncio
async def test_shutdown_lets_running_streams_finish_and_refuses_new_ones() -> None:
    started = start_server(tiny_config())
    server = await started.__aenter__()
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = rpc.RecognizerStub(channel).StreamingRecognize()
        await call.write(config_message(interim_results=True))
        data = linear16(speech_like(2.0, 8))
        await call.write(pb.StreamingRecognizeRequest(audio_content=data[:40000]))
        assert await call.read() is not grpc.aio.EOF
        stopping = asyncio.create_task(started.__aexit__(None, None, None))
        assert await _refusal(server.address) in (CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED)
        await call.write(pb.StreamingRecognizeRequest(audio_content=data[40000:]))
        await call.done_writing()
        assert (await rest(call))[-1].event.type == pb.SpeechEvent.END_OF_STREAM
        await stopping


@pytest.mark.asyncio
async def test_who_watches_the_health_hears_that_the_server_drains_while_streams_still_run() -> None:
    started = start_server(tiny_config())
    server = await started.__aenter__()
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = health_pb2.HealthCheckRequest(service="chorus.v1.Recognizer")
        watch = health_pb2_grpc.HealthStub(channel).Watch(request)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = rpc.RecognizerStub(channel).StreamingRecognize()
        await call.write(config_message())
        await eventually(lambda: any(model.lanes.num_leased for model in server.models))
        stopping = asyncio.create_task(started.__aexit__(None, None, None))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await call.done_writing()
        assert (await rest(call))[-1].event.type == pb.SpeechEvent.END_OF_STREAM
        await stopping


async def _refusal(address: str) -> grpc.StatusCode:
    """Call on new connections until one is refused: a server that has been told to stop may still be on its way."""
    while True:
        async with grpc.aio.insecure_channel(address) as late:
            try:
                await rpc.RecognizerStub(late).ListModels(pb.ListModelsRequest(), timeout=2)
            except grpc.aio.AioRpcError as refused:
                if refused.code() is not CODE.CANCELLED:  # which gRPC says to a call that came just as it stopped
                    return refused.code()


@pytest.mark.asyncio
async def test_a_stream_that_outlives_the_grace_period_ends_unavailable() -> None:
    async with start_server(tiny_config(listen={"grace_s": 0.1})) as server:
        channel = grpc.aio.insecure_channel(server.address)
        call = rpc.RecognizerStub(channel).StreamingRecognize()
        await call.write(config_message())
        await eventually(lambda: any(model.lanes.num_leased for model in server.models))
    assert await call.code() is CODE.UNAVAILABLE
    await channel.close()
