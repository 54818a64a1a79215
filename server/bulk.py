"""Long recordings' way through a queue that they share with single requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from batcher.errors import Overloaded

RETRY_S = 0.05  # a piece that found the queue full asks again after this

Answer = TypeVar("Answer")


class Bulk:
    """Half of a queue's places: however many recordings come at once, single requests find room."""

    def __init__(self, max_queue_size: int) -> None:
        self._places = asyncio.Semaphore(max(1, max_queue_size // 2))

    async def run(self, submit: Callable[[], Awaitable[Answer]]) -> Answer:
        """Submit a piece, which waits where single requests fill the queue: hours must not be lost.

        Raises what `submit` raises, but never Overloaded.
        """
        async with self._places:
            while True:
                try:
                    return await submit()
                except Overloaded:
                    await asyncio.sleep(RETRY_S)
