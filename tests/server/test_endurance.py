"""Thousands of opened, used and cancelled streams leave zero slots leased, zero tasks, and flat memory."""

from __future__ import annotations

import asyncio
import gc

import psutil
import pytest

from protos import recognizer_pb2 as pb
from tests.server.support import (
    config_message,
    ending,
    eventually,
    linear16,
    no_slots_leased,
    running,
    speech_like,
    stream,
    tiny_config,
)

AUDIO = linear16(speech_like(0.6))


async def _round(stub: object, count: int) -> None:
    """`count` streams: a third finish, a third are cancelled in the middle, a third break the protocol."""

    async def one(number: int) -> None:
        call = stub.StreamingRecognize()  # type: ignore[attr-defined]
        await call.write(config_message())
        await call.write(pb.StreamingRecognizeRequest(audio_content=AUDIO))
        if number % 3 == 0:
            await call.done_writing()
            _ = [each async for each in call]
        elif number % 3 == 1:
            call.cancel()
        else:
            await call.write(pb.StreamingRecognizeRequest())
            await ending(call)

    for begin in range(0, count, 8):
        await asyncio.gather(*(one(number) for number in range(begin, min(begin + 8, count))))


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
@pytest.mark.asyncio
async def test_slots_tasks_and_memory_stay_flat(count: int) -> None:
    process = psutil.Process()
    async with running(tiny_config(streaming={"max_streams": 16})) as (server, stub):
        before = finals_text = None
        await _round(stub, 120)  # what grows once has grown: pools, caches, arenas
        await no_slots_leased(server)
        gc.collect()
        tasks, memory = len(asyncio.all_tasks()), process.memory_info().rss
        before = await stream(stub, [AUDIO])
        await _round(stub, count)
        await no_slots_leased(server)
        gc.collect()
        finals_text = await stream(stub, [AUDIO])
        assert finals_text == before  # nothing of the cancelled streams shows in their slots' next tenants
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        assert process.memory_info().rss - memory < 24 << 20
