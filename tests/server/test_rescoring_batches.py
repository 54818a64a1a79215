"""What shares a call of the attention decoder: its length bounds how long one final keeps others waiting."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from unittest.mock import Mock

import numpy as np
import pytest

from batcher.dynamic_queue import DynamicQueue, PendingItem
from engines.rescoring import RescoreItem
from server.app import start_server
from server.config import RescoringConfig
from server.rescoring import rescoring_limits
from speech.search.nbest import Nbest
from tests.server.support import tiny_config


def segment(num_tokens: int, hypotheses: int = 10) -> RescoreItem:
    """A segment whose hypotheses have up to `num_tokens` tokens."""
    tokens = tuple(np.arange(num_tokens - index % 2, dtype=np.int32) for index in range(hypotheses))
    times = tuple(np.zeros(len(each), np.int32) for each in tokens)
    confidences = tuple(np.ones(len(each), np.float32) for each in tokens)
    nbest = Nbest(tokens, -np.arange(hypotheses, dtype=np.float64), times, confidences, 0, 100)
    return RescoreItem(np.zeros((100, 4), np.float32), nbest)


def batches(sizes: list[int], config: RescoringConfig) -> list[list[int]]:
    """The calls that segments of these sizes, all waiting, are rescored in."""
    queue: DynamicQueue[int, None] = DynamicQueue(rescoring_limits(config, 1, 64))
    for size in sizes:
        queue.push(PendingItem(size, Mock(spec=asyncio.Future), 0.0, segment(size).num_tokens, 1, math.inf))
    calls = []
    while len(queue):
        calls.append([pending.item for pending in queue.next_batch(0.0)[0]])
    return calls


def test_a_segment_counts_all_its_hypotheses_padded() -> None:
    assert segment(50).num_tokens == 10 * 52
    assert segment(50, hypotheses=1).num_tokens == 52


@pytest.mark.parametrize("size", [3, 12, 24, 50, 200])
def test_many_segments_that_end_together_never_share_a_call_above_the_bound(size: int) -> None:
    config = RescoringConfig()
    for call in batches([size] * 134, config):
        cost = len(call) * segment(size).num_tokens
        assert cost <= config.max_batch_tokens or len(call) == 1
        assert len(call) <= config.max_batch_size


def test_long_segments_go_alone_and_short_ones_together() -> None:
    assert batches([50, 50, 3, 3, 3, 50], RescoringConfig()) == [[50], [50], [3, 3, 3], [50]]


@pytest.mark.asyncio
async def test_segments_that_end_together_are_rescored_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call waits for the other one to be under way, which one thread could never fulfil."""
    meeting = threading.Barrier(2, timeout=60)

    def meet(items: Sequence[RescoreItem]) -> list[Nbest]:
        meeting.wait()
        return [item.nbest for item in items]

    async with start_server(tiny_config(engine={"threads": 2, "lanes": 2})) as server:
        model = server.models.default
        assert model is not None
        monkeypatch.setattr(model.loaded.rescorer, "_rescored", meet)
        first, second = segment(60), segment(61)
        found = await asyncio.gather(model.rescore(first), model.rescore(second))
        assert list(found) == [first.nbest, second.nbest]


@pytest.mark.asyncio
async def test_a_segment_whose_turn_does_not_come_in_time_keeps_the_order_of_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first call lasts until the second segment has given up waiting; the second one is never rescored."""
    began, given_up = threading.Event(), threading.Event()
    rescored: list[RescoreItem] = []

    def last(items: Sequence[RescoreItem]) -> list[Nbest]:
        rescored.extend(items)
        began.set()
        assert given_up.wait(60)
        return [item.nbest.reordered([1, 0], item.nbest.scores[[1, 0]]) for item in items]

    config = tiny_config(rescoring={"workers": 1, "max_batch_size": 1, "max_wait_ms": 20})
    async with start_server(config) as server:
        model = server.models.default
        assert model is not None
        monkeypatch.setattr(model.loaded.rescorer, "_rescored", last)
        first, second = segment(5, hypotheses=2), segment(6, hypotheses=2)
        running = asyncio.create_task(model.rescore(first))
        assert await asyncio.to_thread(began.wait, 60)
        assert await model.rescore(second) is second.nbest
        given_up.set()
        assert len((await running).tokens[0]) == len(first.nbest.tokens[1])
        assert rescored == [first]
        assert model.rescoring_batcher is not None
        assert model.rescoring_batcher.stats.timed_out == 1
