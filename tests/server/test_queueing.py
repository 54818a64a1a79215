"""Unary requests in the queue: strict priorities, and timeouts that reject, over real gRPC."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from client import AsyncClient, CallFailed, Config
from engines.recordings import OfflineItem, OfflineOutput
from protos import recognizer_pb2 as pb
from server.app import Server
from tests.server.support import DATA, RATE, eventually, linear16, running, speech_like, tiny_config

pytestmark = pytest.mark.asyncio
W1 = DATA / "models" / "w1"
CODE = grpc.StatusCode


class Gate:
    """Holds the offline engine until it is opened, and notes how long each recording was that it then took."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        model = server.models.default
        assert model is not None
        assert model.offline_batcher is not None
        self.batcher = model.offline_batcher
        self.opened = threading.Event()
        self.taken: list[int] = []
        self._run: Any = self.batcher._loop._run
        monkeypatch.setattr(self.batcher._loop, "_run", self._held)

    def _held(self, items: list[OfflineItem]) -> Sequence[OfflineOutput]:
        assert self.opened.wait(60)
        self.taken += [round(len(item.samples) / RATE) for item in items]
        found: Sequence[OfflineOutput] = self._run(items)
        return found


def request(seconds: int, **fields: int) -> pb.RecognizeRequest:
    config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=RATE)
    return pb.RecognizeRequest(config=config, audio=linear16(speech_like(float(seconds))), **fields)


async def test_higher_priority_goes_first_and_none_or_an_unknown_one_means_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offline = {"max_batch_size": 1, "priority_levels": 3, "default_priority_level": 2, "bucket_seconds": [20.0]}
    async with running(tiny_config(W1, offline=offline)) as (server, stub):
        gate = Gate(server, monkeypatch)
        calls = []
        for seconds, priority in ((1, 0), (2, 3), (3, 0), (4, 9), (5, 1)):
            calls.append(asyncio.ensure_future(stub.Recognize(request(seconds, priority=priority))))
            await eventually(lambda: gate.batcher.num_in_flight + gate.batcher.num_waiting == len(calls))
        gate.opened.set()
        await asyncio.gather(*calls)
        assert gate.taken == [1, 5, 3, 4, 2]


@pytest.mark.parametrize(("default_ms", "asked_ms"), [(30, 0), (0, 30), (60_000, 30), (30, 60_000)])
async def test_who_waits_too_long_is_rejected_and_a_request_only_lowers_the_limit(
    monkeypatch: pytest.MonkeyPatch, default_ms: int, asked_ms: int
) -> None:
    offline = {"max_batch_size": 1, "default_timeout_ms": float(default_ms)}
    async with running(tiny_config(W1, offline=offline)) as (server, stub):
        gate = Gate(server, monkeypatch)
        first = asyncio.ensure_future(stub.Recognize(request(1)))
        await eventually(lambda: gate.batcher.num_in_flight == 1)
        with pytest.raises(
            grpc.aio.AioRpcError, match=r"still waiting after \d+ ms, which is all its timeout allowed"
        ) as late:
            await stub.Recognize(request(2, queue_timeout_ms=asked_ms))
        assert late.value.code() is CODE.DEADLINE_EXCEEDED
        gate.opened.set()
        assert (await first).audio_processed == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("field", ["priority", "queue_timeout_ms"])
async def test_impossible_queueing_is_refused_with_what_is_allowed(field: str) -> None:
    async with running(tiny_config(W1)) as (_, stub):
        with pytest.raises(grpc.aio.AioRpcError, match=f"{field} is -1; allowed: 0 to ") as refused:
            await stub.Recognize(request(1, **{field: -1}))
        assert refused.value.code() is CODE.INVALID_ARGUMENT


async def test_python_clients_send_priority_and_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    offline = {"max_batch_size": 1, "priority_levels": 2, "default_priority_level": 2, "bucket_seconds": [20.0]}
    async with running(tiny_config(W1, offline=offline)) as (server, _), AsyncClient(server.address) as client:
        gate = Gate(server, monkeypatch)
        calls = []

        async def recognize(seconds: float, **fields: int) -> object:
            config = Config(encoding="linear16", sample_rate=RATE, **fields)
            return await client.recognize(linear16(speech_like(seconds)), config)

        for seconds, priority in ((1, 0), (2, 0), (3, 1)):
            calls.append(asyncio.ensure_future(recognize(seconds, priority=priority)))
            await eventually(lambda: gate.batcher.num_in_flight + gate.batcher.num_waiting == len(calls))
        with pytest.raises(CallFailed, match="DEADLINE_EXCEEDED"):
            await recognize(4, queue_timeout_ms=1)
        gate.opened.set()
        await asyncio.gather(*calls)
        assert gate.taken == [1, 3, 2]
