"""Continuous batching of chunk steps: whatever streams have a full chunk waiting share the engine's next step."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic

from batcher.clock import Clock, MonotonicClock
from batcher.config import StepConfig
from batcher.loop import BatchLoop
from batcher.pending import Item, Result
from batcher.slots import Lease, SlotPool
from batcher.stats import BatcherStats
from batcher.step_queue import PendingStep, StepQueue


class StepBatcher(Generic[Item, Result]):
    """Owned by the app, for one engine; every method on the event loop only. Lives until `serve` returns.

    A step starts at once when the engine is idle, and fills while it is busy. It holds at most one item of a slot
    (the next needs the state the first writes), earliest deadline first.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        config: StepConfig,
        executor: Executor,
        slots: SlotPool,
        clock: Clock | None = None,
    ) -> None:
        """`run` is called on the executor's threads, on up to `config.workers` at once, never twice for one slot.

        It returns one result per item, in order. The executor stays the caller's.
        """
        self.config = config
        self.slots = slots
        self._clock = clock or MonotonicClock()
        self._loop: BatchLoop[PendingStep[Item, Result]] = BatchLoop(
            StepQueue(config, slots), run, executor, config.workers, self._clock
        )

    @property
    def stats(self) -> BatcherStats:
        return self._loop.stats

    @property
    def num_waiting(self) -> int:
        """Items in the queue, those behind another item of their slot included."""
        return self._loop.num_waiting

    @property
    def num_in_flight(self) -> int:
        """Batches on the engine's threads."""
        return self._loop.num_in_flight

    def lease(self) -> Lease:
        """Lease a slot for one stream (`SlotPool.lease`). Raises SlotsExhausted."""
        return self.slots.lease()

    async def submit(self, item: Item, lease: Lease, deadline: float, is_followed: bool = False) -> Result:
        """Run one chunk of the stream that owns `lease`, and return its result.

        `deadline`, in seconds of the clock (time.monotonic), only ranks the item: the earlier, the sooner; nothing
        happens when it passes. `config.max_bulk_wait_ms` caps how far ahead it counts. Items of one lease run in the
        order of submission. Cancelling before the step starts takes the item out; afterwards the step runs on, and
        the slot stays held until it has ended. `is_followed`: the caller has the stream's next chunk already, and
        submits it right after this one's result; the next step then waits some turns of the event loop for it, or it
        would miss that step.

        Raises Overloaded and StaleLease at once, BatchFailed with the engine's error as cause, BatcherClosed.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        pending = PendingStep(item, future, self._clock.now(), lease, deadline, is_followed)
        result: Result = await self._loop.submit(pending)
        return result

    async def serve(self) -> None:
        """Run steps until `close`; a task of the app's TaskGroup, once. Raises only for a bug of the batcher."""
        await self._loop.serve()

    async def drain(self) -> None:
        """Wait until nothing waits and no step is in flight; new items are still taken."""
        await self._loop.drain()

    def close(self) -> None:
        """Fail waiting and later items with BatcherClosed; `serve` returns when the steps in flight have ended."""
        self._loop.close()
