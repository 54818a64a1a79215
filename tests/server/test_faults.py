"""Every wrong thing a client can do, over real gRPC: one clear status, nothing lost for others, no slot left."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile

from protos import recognizer_pb2 as pb
from tests.server.support import (
    DATA,
    RATE,
    config_message,
    ending,
    eventually,
    finals,
    linear16,
    no_slots_leased,
    running,
    speech_like,
    stream,
    tiny_config,
)

AUDIO = linear16(speech_like(1.5))
CODE = grpc.StatusCode


def audio(data: bytes) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(audio_content=data)


STREAM_FAULTS: list[tuple[str, Sequence[pb.StreamingRecognizeRequest], CODE, str]] = [
    ("no message", [], CODE.FAILED_PRECONDITION, "without a streaming_config"),
    ("audio first", [audio(AUDIO)], CODE.FAILED_PRECONDITION, "first message must carry streaming_config"),
    ("empty first message", [pb.StreamingRecognizeRequest()], CODE.FAILED_PRECONDITION, "must carry streaming_config"),
    ("empty later message", [config_message(), pb.StreamingRecognizeRequest()], CODE.FAILED_PRECONDITION, "neither"),
    (
        "unknown encoding",
        [config_message(encoding=7)],
        CODE.INVALID_ARGUMENT,
        "encoding 7 is unknown; allowed: .*LINEAR16",
    ),
    (
        "no rate",
        [config_message(sample_rate_hertz=0)],
        CODE.INVALID_ARGUMENT,
        "sample_rate_hertz is 0; allowed: 8000 to 48000",
    ),
    ("low rate", [config_message(sample_rate_hertz=4000)], CODE.INVALID_ARGUMENT, "is 4000; allowed: 8000 to 48000"),
    (
        "channels",
        [config_message(audio_channel_count=9)],
        CODE.INVALID_ARGUMENT,
        "audio_channel_count is 9; allowed: 0 to 8",
    ),
    ("model", [config_message(model="nobody")], CODE.NOT_FOUND, "model 'nobody' is unknown; models: "),
    (
        "beam",
        [config_message(decoding=pb.DecodingConfig(beam_size=129))],
        CODE.INVALID_ARGUMENT,
        "beam_size is 129; allowed: 0 to 128",
    ),
    (
        "method",
        [config_message(decoding=pb.DecodingConfig(method=9))],
        CODE.INVALID_ARGUMENT,
        "decoding.method 9 is unknown.*CTC_GREEDY",
    ),
    (
        "probability",
        [config_message(decoding=pb.DecodingConfig(cutoff_probability=float("nan")))],
        CODE.INVALID_ARGUMENT,
        "cutoff_probability is nan",
    ),
    (
        "weight of a fixed graph",
        [config_message(decoding=pb.DecodingConfig(method=pb.ATTENTION_RESCORING, reverse_weight=0.9))],
        CODE.INVALID_ARGUMENT,
        "reverse_weight is 0.89.*fixed in its graph",
    ),
    (
        "endpoint at once",
        [config_message(endpointing_config=pb.EndpointingConfig(rule1=pb.EndpointRule()))],
        CODE.INVALID_ARGUMENT,
        "rule1 would end every segment at once",
    ),
    (
        "changed in mid-stream",
        [config_message(), audio(AUDIO), config_message(sample_rate_hertz=8000)],
        CODE.INVALID_ARGUMENT,
        "sample_rate_hertz cannot change in mid-stream; what can: .*interim_results",
    ),
    (
        "NaN",
        [config_message(encoding=pb.FLOAT32), audio(np.array([0.0, 0.1, np.nan], "<f4").tobytes())],
        CODE.INVALID_ARGUMENT,
        "(?i)sample.*2",
    ),
    (
        "no container",
        [config_message(encoding=pb.WAV, sample_rate_hertz=0), audio(b"\0" * 9000)],
        CODE.INVALID_ARGUMENT,
        "(?i)wav",
    ),
]


@pytest.mark.asyncio
async def test_every_stream_fault_has_its_status_and_leaves_no_slot() -> None:
    async with running(tiny_config()) as (server, stub):
        for name, messages, code, pattern in STREAM_FAULTS:
            call = stub.StreamingRecognize()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                for message in messages:
                    await call.write(message)
                await call.done_writing()
            assert await ending(call) is code, (name, await call.code(), await call.details())
            assert re.search(pattern, await call.details()), (name, await call.details())
            await no_slots_leased(server)
        assert finals(await stream(stub, [AUDIO]))  # others lost nothing


@pytest.mark.asyncio
async def test_audio_after_the_end_of_its_utterance_is_not_heard_and_does_no_harm() -> None:
    short = pb.EndpointingConfig(rule3=pb.EndpointRule(min_utterance_ms=600, must_contain_text=True))
    first = config_message(single_utterance=True, endpointing_config=short)
    async with running(tiny_config()) as (server, stub):
        expected = await stream(stub, [AUDIO], first)
        is_over = asyncio.Event()

        async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
            yield first
            yield audio(AUDIO)
            await is_over.wait()
            for _ in range(20):
                yield audio(AUDIO)

        call, heard = stub.StreamingRecognize(requests()), []
        async for response in call:
            heard.append(response)
            if response.event.type == pb.SpeechEvent.END_OF_STREAM:
                is_over.set()
        assert heard == expected
        assert await call.code() is CODE.OK
        await no_slots_leased(server)


@pytest.mark.asyncio
async def test_half_close_without_audio_ends_well() -> None:
    async with running(tiny_config()) as (_, stub):
        responses = await stream(stub, [])
        assert [each.event.type for each in responses] == [pb.SpeechEvent.END_OF_STREAM]
        responses = await stream(stub, [], encoding=pb.WAV, sample_rate_hertz=0)
        assert not any(each.results for each in responses)


@pytest.mark.asyncio
async def test_cancelled_vanished_and_late_calls_give_their_slots_back() -> None:
    async with running(tiny_config()) as (server, stub):
        for _ in range(20):
            call = stub.StreamingRecognize()
            await call.write(config_message())
            await call.write(audio(AUDIO))
            call.cancel()
        late = stub.StreamingRecognize(timeout=0.3)
        await late.write(config_message())
        assert await ending(late) is CODE.DEADLINE_EXCEEDED
        async with grpc.aio.insecure_channel(server.address) as channel:
            from protos import recognizer_pb2_grpc as rpc

            gone = rpc.RecognizerStub(channel).StreamingRecognize()
            await gone.write(config_message())
            await gone.write(audio(AUDIO))
            await eventually(lambda: any(model.lanes.num_leased for model in server.models))
        await no_slots_leased(server)


@pytest.mark.asyncio
async def test_one_stream_too_many_is_refused_with_the_limit_named() -> None:
    async with running(tiny_config(streaming={"max_streams": 2})) as (server, stub):
        calls = []
        for _ in range(2):
            calls.append(stub.StreamingRecognize())
            await calls[-1].write(config_message())
        await eventually(lambda: all(model.lanes.num_free == 0 for model in server.models))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream(stub, [AUDIO])
        assert refused.value.code() is CODE.RESOURCE_EXHAUSTED
        assert "2" in (refused.value.details() or "")
        for call in calls:  # the running ones lost nothing
            await call.write(audio(AUDIO))
            await call.done_writing()
            assert [each async for each in call][-1].event.type == pb.SpeechEvent.END_OF_STREAM


@pytest.mark.asyncio
async def test_an_idle_stream_is_ended_after_its_results() -> None:
    async with running(tiny_config(streaming={"idle_timeout_s": 0.2})) as (_, stub):
        call = stub.StreamingRecognize()
        await call.write(config_message())
        await call.write(audio(AUDIO))
        seen = []
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for response in call:
                seen.append(response)  # noqa: PERF401 (the loop ends by raising)
        assert await call.code() is CODE.ABORTED
        assert "idle_timeout_s" in await call.details()
        assert seen
        assert seen[-1].event.type == pb.SpeechEvent.END_OF_STREAM


@pytest.mark.asyncio
async def test_unary_faults_have_their_status() -> None:
    def request(data: bytes, **fields: Any) -> pb.RecognizeRequest:
        config = pb.RecognitionConfig(**{"encoding": pb.LINEAR16, "sample_rate_hertz": RATE, **fields})
        return pb.RecognizeRequest(config=config, audio=data)

    faults = [
        (request(AUDIO, encoding=pb.FLAC, sample_rate_hertz=0), CODE.INVALID_ARGUMENT, "(?i)flac"),
        (request(AUDIO * 20), CODE.INVALID_ARGUMENT, "longer than 10 s.*max_audio_s"),
        (request(AUDIO, model="nobody"), CODE.NOT_FOUND, "nobody"),
        (
            request(np.full(RATE, np.inf, "<f4").tobytes(), encoding=pb.FLOAT32),
            CODE.INVALID_ARGUMENT,
            "(?i)sample 0|position 0",
        ),
    ]
    async with running(tiny_config(offline={"max_audio_s": 10.0})) as (_, stub):
        for message, code, pattern in faults:
            with pytest.raises(grpc.aio.AioRpcError, match=pattern) as failed:
                await stub.Recognize(message)
            assert failed.value.code() is code
        assert not (await stub.Recognize(request(b""))).results
        assert not (await stub.Recognize(request(AUDIO[:2]))).results


@pytest.mark.asyncio
async def test_container_streams_beyond_their_places_are_refused() -> None:
    data = io.BytesIO()
    soundfile.write(data, speech_like(4.0), RATE, format="WAV")
    async with running(tiny_config(streaming={"max_container_streams": 1})) as (server, stub):
        first = stub.StreamingRecognize()
        await first.write(config_message(encoding=pb.WAV, sample_rate_hertz=0))
        await first.write(audio(data.getvalue()[:40000]))
        await eventually(lambda: any(model.lanes.num_leased for model in server.models))
        with pytest.raises(grpc.aio.AioRpcError, match="max_container_streams"):
            await stream(stub, [data.getvalue()], encoding=pb.WAV, sample_rate_hertz=0)
        first.cancel()


@pytest.mark.asyncio
async def test_a_call_that_gets_only_some_of_its_slots_keeps_none() -> None:
    async with running(tiny_config(streaming={"max_streams": 3})) as (server, stub):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream(stub, [AUDIO], audio_channel_count=4)
        assert refused.value.code() is CODE.RESOURCE_EXHAUSTED
        await no_slots_leased(server)


@pytest.mark.asyncio
async def test_a_file_cut_short_ends_with_its_results_and_then_its_error() -> None:
    data = io.BytesIO()
    soundfile.write(data, speech_like(3.0), RATE, format="WAV")
    async with running(tiny_config()) as (_, stub):
        call = stub.StreamingRecognize()
        await call.write(config_message(encoding=pb.WAV, sample_rate_hertz=0))
        await call.write(audio(data.getvalue()[:70000]))
        await call.done_writing()
        seen = []
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for response in call:
                seen.append(response)  # noqa: PERF401 (the loop ends by raising)
        assert await call.code() is CODE.INVALID_ARGUMENT
        assert any(result.is_final for response in seen for result in response.results)
        assert seen[-1].event.type == pb.SpeechEvent.END_OF_STREAM


@pytest.mark.asyncio
async def test_a_call_without_a_first_message_is_ended() -> None:
    async with running(tiny_config(streaming={"idle_timeout_s": 0.1})) as (_, stub):
        call = stub.StreamingRecognize()
        assert await ending(call) is CODE.ABORTED
        assert "no streaming_config for 0.1 s" in await call.details()


@pytest.mark.asyncio
async def test_a_long_file_has_more_pieces_than_the_queue_has_places() -> None:
    config = tiny_config(DATA / "models" / "w1", offline={"max_piece_s": 5.0, "max_queue_size": 4, "max_batch_size": 2})
    async with running(config) as (_, stub):
        settings = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=RATE)
        whole = linear16(np.tile(speech_like(5.0), 12))
        answer = await stub.Recognize(pb.RecognizeRequest(config=settings, audio=whole))
        assert answer.audio_processed == pytest.approx(60, abs=0.1)
