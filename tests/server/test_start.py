"""What callers see of a server that loads its models: over real gRPC, on its port."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

import server.app
from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server.app import RECOGNIZER, start_server
from server.config import Config
from server.errors import StartFailed
from tests.server.support import tiny_config

STATES = health_pb2.HealthCheckResponse


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Models load when it is set."""
    event = threading.Event()
    load = server.app.load_served

    def held(config: Config, stack: ExitStack) -> Any:
        assert event.wait(30)
        return load(config, stack)

    monkeypatch.setattr(server.app, "load_served", held)
    return event


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[tuple[int, grpc.aio.Channel]]:
    port = free_port()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield port, opened


@pytest.mark.asyncio
async def test_a_loading_server_is_not_serving_and_says_so(
    go_on: threading.Event, channel: tuple[int, grpc.aio.Channel]
) -> None:
    port, wire = channel
    stop = asyncio.Event()

    async def run() -> None:
        async with start_server(tiny_config(listen={"port": port})):
            await stop.wait()

    running = asyncio.create_task(run())
    health: Any = health_pb2_grpc.HealthStub(wire)
    for service in ("", RECOGNIZER):
        request = health_pb2.HealthCheckRequest(service=service)
        assert (await health.Check(request, wait_for_ready=True, timeout=20)).status == STATES.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rpc.RecognizerStub(wire).ListModels(pb.ListModelsRequest())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "loading its models" in str(refused.value.details())
    watched = health.Watch(health_pb2.HealthCheckRequest(service=RECOGNIZER))
    states = [(await watched.read()).status]
    go_on.set()
    states.append((await watched.read()).status)
    assert states == [STATES.NOT_SERVING, STATES.SERVING]
    assert (await rpc.RecognizerStub(wire).ListModels(pb.ListModelsRequest())).models
    watched.cancel()
    stop.set()
    await running


@pytest.mark.asyncio
async def test_a_server_that_cannot_load_gives_its_port_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: Config, stack: ExitStack) -> Any:
        raise StartFailed("no such folder")

    port = free_port()
    with monkeypatch.context() as patch:
        patch.setattr(server.app, "load_served", fail)
        with pytest.raises(StartFailed, match="no such folder"):
            async with start_server(tiny_config(listen={"port": port})):
                pass
    async with start_server(tiny_config(listen={"port": port})) as again:
        assert again.port == port


@pytest.mark.asyncio
async def test_a_taken_port_is_told_before_models_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Config] = []
    async with start_server(tiny_config()) as first:
        monkeypatch.setattr(server.app, "load_served", lambda config, stack: loaded.append(config))
        with pytest.raises(StartFailed, match=rf"cannot listen on 127\.0\.0\.1:{first.port}"):
            async with start_server(tiny_config(listen={"port": first.port})):
                pass
    assert not loaded
