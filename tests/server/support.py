"""A real server on a free port, and the few lines every RPC test needs. Shared by tests/server and tests/e2e."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server.app import Server, start_server
from server.config import Config, load_config

DATA = Path(__file__).parent.parent / "data"
TINY = DATA / "models" / "w2"
RATE = 16000


def tiny_config(models: Path = TINY, **sections: dict[str, Any]) -> Config:
    """Settings of a small server on a free port."""
    tree: dict[str, Any] = {"models": str(models), "engine": {"threads": 1}, "log": {"level": "error"}, **sections}
    tree["listen"] = {"port": 0, "grace_s": 5.0, **sections.get("listen", {})}
    tree["streaming"] = {"max_streams": 8, **sections.get("streaming", {})}
    return load_config(environment={}, overrides=tree)


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[tuple[Server, rpc.RecognizerAsyncStub]]:
    """A server and a stub on it; at the end no slot may be leased, and no task may run that did not at the start."""
    async with start_server(config) as server:
        own = asyncio.all_tasks()
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield server, rpc.RecognizerStub(channel)
        await no_slots_leased(server)
        await eventually(lambda: len(asyncio.all_tasks()) <= len(own))


async def no_slots_leased(server: Server) -> None:
    """Wait until every slot is free again."""
    await eventually(lambda: all(model.lanes.num_free == model.lanes.num_slots for model in server.models))
    server.check_integrity()


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with a changing colour and level, (n,) float32: enough for a random model to say something."""
    random = np.random.default_rng(seed)
    count = int(seconds * RATE)
    level = np.interp(
        np.arange(count),
        np.arange(0, count + RATE, RATE // 4),
        random.uniform(0.02, 0.5, count // (RATE // 4) + 5)[: len(np.arange(0, count + RATE, RATE // 4))],
    )
    noise = random.standard_normal(count)
    colour = np.cumsum(noise) * 0.02
    return np.clip((noise * 0.2 + np.sin(colour * 8)) * level, -1, 1).astype(np.float32)


def linear16(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def config_message(**fields: Any) -> pb.StreamingRecognizeRequest:
    """The first message; streaming fields by their names, the rest go to RecognitionConfig."""
    outer = {name: fields.pop(name) for name in ("interim_results", "single_utterance") if name in fields}
    config = pb.RecognitionConfig(**{"encoding": pb.LINEAR16, "sample_rate_hertz": RATE, **fields})
    return pb.StreamingRecognizeRequest(streaming_config=pb.StreamingRecognitionConfig(config=config, **outer))


def packets(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut `data` at the given places (taken modulo its length)."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


async def stream(
    stub: rpc.RecognizerAsyncStub,
    audio: Sequence[bytes],
    first: pb.StreamingRecognizeRequest | None = None,
    **fields: Any,
) -> list[pb.StreamingRecognizeResponse]:
    """Send a configuration and packets, and return every response."""
    call = stub.StreamingRecognize()
    await call.write(first or config_message(**fields))
    for packet in audio:
        await call.write(pb.StreamingRecognizeRequest(audio_content=packet))
    await call.done_writing()
    return [response async for response in call]


async def rest(call: Any) -> list[pb.StreamingRecognizeResponse]:
    """Read to the end with `read`, which may follow other reads (gRPC forbids mixing it with iteration)."""
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


async def ending(call: Any) -> grpc.StatusCode:
    """Read what is left of a call and return how it ended: gRPC gives the status only after the messages."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await rest(call)
    code: grpc.StatusCode = await call.code()
    return code


def finals(responses: Iterable[pb.StreamingRecognizeResponse]) -> list[str]:
    return [result.alternatives[0].transcript for each in responses for result in each.results if result.is_final]


def comparable(responses: Iterable[pb.StreamingRecognizeResponse]) -> list[tuple[Any, ...]]:
    """Final results without what legitimately depends on packet cuts: texts, times, and scores to 1e-4."""
    return [
        (
            result.channel_tag,
            result.segment,
            result.start_ms,
            result.end_ms,
            [
                (a.transcript, Score(a.score), [(w.word, w.start_ms, w.end_ms) for w in a.words])
                for a in result.alternatives
            ],
        )
        for each in responses
        for result in each.results
        if result.is_final
    ]


class Score(float):
    """A log-probability that equals others within 1e-4, or within a millionth of it: the wire has 32 bits."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isclose(self, other, rel_tol=1e-6, abs_tol=1e-4)

    __hash__ = float.__hash__


async def eventually(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait for `condition`; the only polling in the tests, for things the other side of a socket does.

    A condition that never comes true fails after `timeout_s`, which no busy machine should need.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.005)
