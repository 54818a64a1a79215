"""Thousands of opened, used and cancelled streams leave zero slots leased, zero tasks, and flat memory."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise

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
ROUNDS = 3
LEAK = 80 << 10  # bytes per stream that would be noticed: less than what any of its buffers takes


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


def _resident(process: psutil.Process) -> int:
    gc.collect()
    return process.memory_info().rss


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
@pytest.mark.asyncio
async def test_slots_tasks_and_memory_stay_flat(count: int) -> None:
    process = psutil.Process()
    async with running(tiny_config(streaming={"max_streams": 16})) as (server, stub):
        await _round(stub, 120)  # what grows once has grown: pools, caches, arenas
        await no_slots_leased(server)
        tasks = len(asyncio.all_tasks())
        before = await stream(stub, [AUDIO])
        memory = [_resident(process)]
        for _ in range(ROUNDS):
            await _round(stub, count // ROUNDS)
            await no_slots_leased(server)
            memory.append(_resident(process))
        assert await stream(stub, [AUDIO]) == before  # the cancelled streams do not show in their slots' next tenants
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        # A leak grows in every round; an arena grows once, in whichever round first has its largest batch.
        assert min(after - earlier for earlier, after in pairwise(memory)) < LEAK * count // ROUNDS
