"""Dynamic batching of independent items (whole utterances, rescoring) by length bucket, priority and timeout."""

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic

from batcher import policy
from batcher.clock import Clock, MonotonicClock
from batcher.config import DynamicConfig
from batcher.dynamic_queue import DynamicQueue, PendingItem
from batcher.loop import BatchLoop
from batcher.pending import Item, Result
from batcher.stats import BatcherStats


class DynamicBatcher(Generic[Item, Result]):
    """Owned by the app, for one engine; every method on the event loop only. Lives until `serve` returns.

    The first waiting item (highest priority, then oldest) decides the bucket; its batch is filled with other items
    of that bucket in the same order. Size and delay follow Triton's dynamic batcher (`policy.batch_size`).
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        config: DynamicConfig,
        executor: Executor,
        clock: Clock | None = None,
    ) -> None:
        """`run` is called on the executor's threads, on up to `config.workers` at once.

        It returns one result per item, in order. The executor stays the caller's.
        """
        self.config = config
        self._clock = clock or MonotonicClock()
        self._loop: BatchLoop[PendingItem[Item, Result]] = BatchLoop(
            DynamicQueue(config), run, executor, config.workers, self._clock
        )

    @property
    def stats(self) -> BatcherStats:
        return self._loop.stats

    @property
    def num_waiting(self) -> int:
        return self._loop.num_waiting

    @property
    def num_in_flight(self) -> int:
        """Batches on the engine's threads."""
        return self._loop.num_in_flight

    async def submit(self, item: Item, length: int, priority: int = 0, timeout_ms: float | None = None) -> Result:
        """Run one item of `length` (samples, frames: the unit of `config.buckets`) and return its result.

        `priority`: 1 is the highest, 0 or an unknown level the default. `timeout_ms` bounds the time in the queue,
        not the run, and can only lower `config.default_timeout_ms`. Cancelling takes the item out of the queue; a
        batch that has started runs on.

        Raises Overloaded at once, QueueTimeout (with "reject"), BatchFailed with the engine's error as cause,
        BatcherClosed.
        """
        now = self._clock.now()
        timeout = policy.timeout_ms(timeout_ms, self.config)
        expires_at = math.inf if timeout is None else now + timeout / 1000
        level = policy.priority_level(priority, self.config)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        result: Result = await self._loop.submit(PendingItem(item, future, now, length, level, expires_at))
        return result

    async def serve(self) -> None:
        """Run batches until `close`; a task of the app's TaskGroup, once. Raises only for a bug of the batcher."""
        await self._loop.serve()

    async def drain(self) -> None:
        """Wait until nothing waits and no batch is in flight; new items are still taken."""
        await self._loop.drain()

    def close(self) -> None:
        """Fail waiting and later items with BatcherClosed; `serve` returns when the batches in flight have ended."""
        self._loop.close()
