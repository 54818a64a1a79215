"""Stand-ins for what a test wants to control: an engine whose batches end when the test says, and a clock set by hand.

Import as `from tests.fakes import ...`. Nothing here sleeps.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

GATE_TIMEOUT_S = 60.0  # a test that forgets to end a batch fails instead of hanging


class GateBatch:
    """A batch the engine has begun; the engine's thread waits until the test calls `finish` or `fail`."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self._gate = threading.Event()
        self._results: Sequence[Any] | None = None
        self._error: BaseException | None = None

    def finish(self, results: Sequence[Any] | None = None) -> None:
        """End the batch with `results`, by default the items themselves."""
        self._results = self.items if results is None else results
        self._gate.set()

    def fail(self, error: BaseException) -> None:
        """End the batch by raising `error` on the engine's thread."""
        self._error = error
        self._gate.set()

    def wait(self) -> Sequence[Any]:
        assert self._gate.wait(GATE_TIMEOUT_S), f"the test never ended the batch {self.items}"
        if self._error is not None:
            raise self._error
        assert self._results is not None, "the gate opens with results or an error"
        return self._results


class GateEngine:
    """`run` blocks its thread on a gate; `await next_batch()` gives the test each batch once it has begun."""

    def __init__(self) -> None:
        self.batches: list[GateBatch] = []
        self._begun: asyncio.Queue[GateBatch] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def run(self, items: list[Any]) -> Sequence[Any]:
        batch = GateBatch(items)
        self._loop.call_soon_threadsafe(self._announce, batch)
        return batch.wait()

    async def next_batch(self) -> GateBatch:
        async with asyncio.timeout(GATE_TIMEOUT_S):
            return await self._begun.get()

    def end_all(self) -> None:
        """Finish every batch begun so far: what a test does before it leaves, so that no thread is left waiting."""
        for batch in self.batches:
            batch.finish()

    def _announce(self, batch: GateBatch) -> None:
        self.batches.append(batch)
        self._begun.put_nowait(batch)


class HandTimer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class HandClock:
    """A `batcher.Clock` that moves only when told; timers that come due are called in their order."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._timers: list[HandTimer] = []

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> HandTimer:
        timer = HandTimer(when, callback)
        self._timers.append(timer)
        return timer

    @property
    def num_timers(self) -> int:
        """Timers neither called nor cancelled."""
        return len(self._due(float("inf")))

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while due := self._due(end):
            timer = min(due, key=lambda timer: timer.when)
            self._timers.remove(timer)
            self._now = max(self._now, timer.when)
            timer.callback()
        self._now = end

    def _due(self, end: float) -> list[HandTimer]:
        self._timers = [timer for timer in self._timers if not timer.is_cancelled]
        return [timer for timer in self._timers if timer.when <= end]


async def let_run(turns: int = 10) -> None:
    """Give every ready task its turns, to then see that something has NOT happened."""
    for _ in range(turns):
        await asyncio.sleep(0)
