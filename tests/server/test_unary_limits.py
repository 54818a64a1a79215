"""How much unary recognition takes on: numbers, memory and queue, each refused over real gRPC with its limit named."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from protos import recognizer_pb2 as pb
from server.places import Memory
from tests.server.support import DATA, RATE, eventually, linear16, running, speech_like, tiny_config
from tests.server.test_shutdown import hold_recognition

OFFLINE = DATA / "models" / "w1"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def request(seconds: float) -> pb.RecognizeRequest:
    config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=RATE)
    return pb.RecognizeRequest(config=config, audio=linear16(speech_like(seconds)))


@pytest.mark.asyncio
async def test_one_request_too_many_is_refused_and_the_others_are_answered() -> None:
    async with running(tiny_config(OFFLINE, offline={"max_requests": 2})) as (server, stub):
        go_on, waiting = hold_recognition(server)
        calls = [stub.Recognize(request(1.0)) for _ in range(2)]
        await eventually(lambda: len(waiting) == 2)
        with pytest.raises(
            grpc.aio.AioRpcError, match=r"all 2 places for unary recognitions .*offline\.max_requests"
        ) as refused:
            await stub.Recognize(request(1.0))
        assert refused.value.code() is EXHAUSTED
        calls[0].cancel()  # whose place is free again
        go_on.set()
        assert (await calls[1]).results
        assert (await stub.Recognize(request(1.0))).results


@pytest.mark.asyncio
async def test_audio_that_would_fill_the_memory_is_refused_beside_others_and_taken_alone() -> None:
    """Five seconds are 160 kB as they came, and 320 kB decoded: two requests fit into a megabyte."""
    async with running(tiny_config(OFFLINE, offline={"max_memory_mb": 1})) as (server, stub):
        go_on, waiting = hold_recognition(server)
        calls = [stub.Recognize(request(5.0)) for _ in range(2)]
        await eventually(lambda: len(waiting) == 2)
        with pytest.raises(grpc.aio.AioRpcError, match=r"others hold 0\.9 MB.*together: 1 .*max_memory_mb") as refused:
            await stub.Recognize(request(5.0))
        assert refused.value.code() is EXHAUSTED
        go_on.set()
        assert all([(await call).results for call in calls])
        assert (await stub.Recognize(request(20.0))).results


def test_what_a_call_held_is_free_after_its_error() -> None:
    memory = Memory(1, "audio", "a.setting")

    def failing() -> None:
        with memory.held() as hold:
            hold(400_000)
            raise ZeroDivisionError

    with memory.held() as hold:
        hold(600_000)
        with pytest.raises(ZeroDivisionError):
            failing()
        assert memory.num_bytes == 600_000
    assert memory.num_bytes == 0


@pytest.mark.asyncio
async def test_recordings_wait_for_a_full_queue_where_a_single_utterance_is_refused() -> None:
    """Two recordings of six pieces find a queue of one place; none of their work is lost."""
    offline = {"max_piece_s": 5.0, "max_queue_size": 1, "max_batch_size": 1}
    async with running(tiny_config(OFFLINE, offline=offline)) as (_, stub):
        long = request(5.0)
        long.audio = linear16(np.tile(speech_like(5.0), 6))
        answers = await asyncio.gather(*(stub.Recognize(long) for _ in range(2)))
        assert [answer.audio_processed for answer in answers] == [30.0, 30.0]
        assert len(answers[0].results) == len(answers[1].results) > 1
        calls = [stub.Recognize(long), *(stub.Recognize(request(1.0)) for _ in range(12))]
        beside, *single = await asyncio.gather(*calls, return_exceptions=True)
        assert beside.results == answers[0].results
        refused = [each for each in single if isinstance(each, grpc.aio.AioRpcError)]
        assert 0 < len(refused) < 12
        assert all(each.code() is EXHAUSTED and "1 items waiting" in (each.details() or "") for each in refused)
