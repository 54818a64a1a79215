"""A served batcher with a gated engine and a hand-moved clock."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from batcher import DynamicBatcher, DynamicConfig, SlotPool, StepBatcher, StepConfig
from tests.fakes import GateEngine, HandClock


@dataclass
class Bench:
    """What a test holds of one served batcher."""

    engine: GateEngine
    clock: HandClock
    executor: ThreadPoolExecutor
    tasks: asyncio.TaskGroup
    serving: asyncio.Task[None]
    crash: BaseException | None = field(default=None, kw_only=True)  # what `serve` is expected to raise


@dataclass
class StepBench(Bench):
    batcher: StepBatcher[Any, Any]
    slots: SlotPool

    def submit(self, item: Any, deadline: float = 0.0, lease: Any = None) -> asyncio.Task[Any]:
        return self.tasks.create_task(self.batcher.submit(item, lease or self.slots.lease(), deadline))

    def ask(self, item: Any, lease: Any = None) -> asyncio.Task[Any]:
        """Submit an item that will fail: outside the group, so that the test sees the error and not the group."""
        return asyncio.create_task(self.batcher.submit(item, lease or self.slots.lease(), 0.0))


@dataclass
class DynamicBench(Bench):
    batcher: DynamicBatcher[Any, Any]

    def submit(self, item: Any, length: int = 1, **options: Any) -> asyncio.Task[Any]:
        return self.tasks.create_task(self.batcher.submit(item, length, **options))

    def ask(self, item: Any, length: int = 1, **options: Any) -> asyncio.Task[Any]:
        """Submit an item that will fail: outside the group, so that the test sees the error and not the group."""
        return asyncio.create_task(self.batcher.submit(item, length, **options))


@contextlib.asynccontextmanager
async def _ending(bench: Bench, close: Callable[[], None]) -> AsyncIterator[None]:
    """End every batch and `serve`, and see that it ended as the test said."""
    try:
        yield
    finally:
        close()
        bench.engine.end_all()
        (ending,) = await asyncio.gather(bench.serving, return_exceptions=True)
    assert ending is bench.crash or (bench.serving.cancelled() and isinstance(bench.crash, asyncio.CancelledError))
    assert bench.clock.num_timers == 0, "a timer outlives its batcher"


@contextlib.asynccontextmanager
async def serve_steps(num_slots: int = 8, **settings: Any) -> AsyncIterator[StepBench]:
    engine, clock, slots, config = GateEngine(), HandClock(), SlotPool(num_slots), StepConfig(**settings)
    with ThreadPoolExecutor(config.workers) as executor:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            batcher: StepBatcher[Any, Any] = StepBatcher(engine.run, config, executor, slots, clock)
            bench = StepBench(engine, clock, executor, tasks, asyncio.create_task(batcher.serve()), batcher, slots)
            async with _ending(bench, batcher.close):
                yield bench
    slots.check_integrity()
    assert slots.num_draining == 0


@contextlib.asynccontextmanager
async def serve_items(**settings: Any) -> AsyncIterator[DynamicBench]:
    engine, clock, config = GateEngine(), HandClock(), DynamicConfig(**settings)
    with ThreadPoolExecutor(config.workers) as executor:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            batcher: DynamicBatcher[Any, Any] = DynamicBatcher(engine.run, config, executor, clock)
            bench = DynamicBench(engine, clock, executor, tasks, asyncio.create_task(batcher.serve()), batcher)
            async with _ending(bench, batcher.close):
                yield bench
