"""What callers see of a server that ends: over real gRPC, on channels that were open before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server.app import Server, start_server
from server.config import Config
from tests.server.support import (
    DATA,
    RATE,
    config_message,
    ending,
    eventually,
    linear16,
    rest,
    speech_like,
    tiny_config,
)

CODE = grpc.StatusCode
STATES = health_pb2.HealthCheckResponse
AUDIO = linear16(speech_like(1.0))
REQUEST = pb.RecognizeRequest(config=pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=RATE), audio=AUDIO)


class Ending:
    """A server that can be told to end, with a channel to it."""

    def __init__(self, server: Server, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.channel = channel
        self.stub: Any = rpc.RecognizerStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)
        self.begin = asyncio.Event()
        self.stopped: asyncio.Task[None]

    async def is_draining(self) -> None:
        """Begin to end the server, and return when health checks say so."""
        self.begin.set()
        while (await self.health.Check(health_pb2.HealthCheckRequest())).status != STATES.NOT_SERVING:
            pass


@asynccontextmanager
async def ending_server(config: Config) -> AsyncIterator[Ending]:
    """A server that ends at `begin`, at the latest at the end of the test; its slots are free then."""
    is_up: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    begin = asyncio.Event()

    async def serve() -> None:
        async with start_server(config) as server:
            is_up.set_result(server)
            await begin.wait()

    stopped = asyncio.create_task(serve())
    done, _ = await asyncio.wait({stopped, is_up}, return_when=asyncio.FIRST_COMPLETED)
    assert is_up in done, await stopped
    server = is_up.result()
    async with grpc.aio.insecure_channel(server.address) as channel:
        ends = Ending(server, channel)
        ends.begin, ends.stopped = begin, stopped
        yield ends
        begin.set()
        await stopped
    assert all(model.lanes.num_free == model.lanes.num_slots for model in server.models)


def hold_recognition(server: Server) -> tuple[asyncio.Event, list[object]]:
    """Make unary recognition wait for the event; the list grows with what waits."""
    model, go_on, waiting = server.models.default, asyncio.Event(), list[object]()
    assert model is not None
    recognize = model.recognize

    async def held(*arguments: Any, **named: Any) -> Any:
        waiting.append(arguments)
        await go_on.wait()
        return await recognize(*arguments, **named)

    model.recognize = held  # type: ignore[method-assign]
    return go_on, waiting


@pytest.mark.asyncio
async def test_new_calls_on_an_open_channel_are_told_while_a_running_stream_is_finished() -> None:
    async with ending_server(tiny_config(listen={"grace_s": 60.0})) as ends:
        running = ends.stub.StreamingRecognize()
        await running.write(config_message(interim_results=True))
        await running.write(pb.StreamingRecognizeRequest(audio_content=AUDIO * 2))
        assert await running.read() is not grpc.aio.EOF
        await ends.is_draining()
        silent = ends.stub.StreamingRecognize()  # refused before it says a word
        for call in (ends.stub.Recognize(REQUEST), silent, ends.stub.ListModels(pb.ListModelsRequest())):
            assert await call.code() is CODE.UNAVAILABLE
            assert await call.details() == "the server is shutting down and takes no new calls"
        for service in ("chorus.v1.Recognizer", "chorus.v1.Speaker"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert (await ends.health.Check(request)).status == STATES.NOT_SERVING
        assert not ends.stopped.done()
        await running.done_writing()
        assert (await rest(running))[-1].event.type == pb.SpeechEvent.END_OF_STREAM
        assert await running.code() is CODE.OK


@pytest.mark.asyncio
async def test_a_running_unary_call_is_finished() -> None:
    async with ending_server(tiny_config(DATA / "models" / "w1", listen={"grace_s": 60.0})) as ends:
        go_on, waiting = hold_recognition(ends.server)
        running = ends.stub.Recognize(REQUEST)
        await eventually(lambda: len(waiting) == 1)
        await ends.is_draining()
        go_on.set()
        assert (await running).results
        await ends.stopped


@pytest.mark.asyncio
async def test_calls_that_outlive_the_grace_period_are_told_its_length() -> None:
    async with ending_server(tiny_config(DATA / "models" / "w1", listen={"grace_s": 0.2})) as ends:
        _, waiting = hold_recognition(ends.server)
        running = ends.stub.Recognize(REQUEST)
        await eventually(lambda: len(waiting) == 1)
        ends.begin.set()
        assert await running.code() is CODE.UNAVAILABLE
        assert "did not end within 0.2 s (listen.grace_s)" in await running.details()
    async with ending_server(tiny_config(listen={"grace_s": 0.2})) as ends:
        stream = ends.stub.StreamingRecognize()
        await stream.write(config_message())
        await eventually(lambda: any(model.lanes.num_leased for model in ends.server.models))
        ends.begin.set()
        assert await ending(stream) is CODE.UNAVAILABLE
        assert "did not end within 0.2 s (listen.grace_s)" in await stream.details()


@pytest.mark.asyncio
async def test_who_watches_the_health_is_told_and_does_not_hold_the_end_up() -> None:
    async with ending_server(tiny_config(listen={"grace_s": 300.0})) as ends:
        watch = ends.health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == STATES.SERVING
        ends.begin.set()
        assert (await watch.read()).status == STATES.NOT_SERVING
        async with asyncio.timeout(60):
            await ends.stopped
        assert await ending(watch) is CODE.UNAVAILABLE
