"""Long results are built in turns with everything else that the event loop serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from server.stream_call import _result_message
from server.turns import one_by_one
from speech.results import Alternative, Result, Word

pytestmark = pytest.mark.asyncio
COUNT = 32


async def test_others_are_served_after_each_piece() -> None:
    turns: list[str] = []

    def pieces() -> Iterator[int]:
        for piece in range(3):
            turns.append("piece")
            yield piece

    async def other() -> None:
        for _ in range(3):
            turns.append("other")
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    assert await one_by_one(pieces()) == (0, 1, 2)
    await waiting
    assert turns == ["piece", "other"] * 3


@pytest.mark.parametrize("is_final", [True, False])
async def test_a_final_of_many_alternatives_gives_the_loop_a_turn_after_each(is_final: bool) -> None:
    words = tuple(Word(f"W{index}", index, index + 1, 0.5) for index in range(100))
    best = tuple(Alternative(f"TEXT {index}", -float(index), 0.5, words) for index in range(COUNT))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(other())
    message = await _result_message(Result(best, is_final, 1.0, 0, 0, 0, 0), 2)
    assert turns == (COUNT if is_final else 0)
    counting.cancel()
    (result,) = message.results
    assert [each.transcript for each in result.alternatives] == [each.text for each in best]
    assert [word.word for word in result.alternatives[-1].words] == [word.text for word in words]
    assert (result.is_final, result.channel_tag) == (is_final, 2)
