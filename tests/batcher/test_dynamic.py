"""DynamicBatcher with a gated engine: buckets, priorities and timeouts through the whole batcher."""

import asyncio

import pytest

from batcher import BatchFailed, Overloaded, QueueTimeout
from tests.batcher.benches import serve_items
from tests.fakes import let_run

pytestmark = pytest.mark.asyncio


async def test_batches_hold_one_bucket_oldest_first() -> None:
    async with serve_items(buckets=(10, 20)) as bench:
        first = bench.submit("first", 5)
        step = await bench.engine.next_batch()
        tasks = [bench.submit(item, length) for item, length in (("A", 15), ("b", 5), ("C", 20))]
        await let_run()
        step.finish()
        batches = []
        for _ in range(2):
            batch = await bench.engine.next_batch()
            batches.append(batch.items)
            batch.finish()
        assert batches == [["A", "C"], ["b"]]
        assert await asyncio.gather(first, *tasks) == ["first", "A", "b", "C"]


async def test_priority_one_overtakes_what_waits() -> None:
    async with serve_items(priority_levels=2, default_priority_level=2, max_batch_size=1) as bench:
        first = bench.submit("first")
        step = await bench.engine.next_batch()
        tasks = [bench.submit("default"), bench.submit("high", priority=1)]
        await let_run()
        step.finish()
        order = []
        for _ in range(2):
            batch = await bench.engine.next_batch()
            order += batch.items
            batch.finish()
        assert order == ["high", "default"]
        await asyncio.gather(first, *tasks)


async def test_timeout_rejects_a_waiting_item_while_the_engine_is_busy() -> None:
    async with serve_items(default_timeout_ms=100) as bench:
        running = bench.submit("a")
        batch = await bench.engine.next_batch()
        short, default = bench.ask("b", timeout_ms=30), bench.ask("c", timeout_ms=500)
        await let_run()
        bench.clock.advance(0.03)
        with pytest.raises(QueueTimeout, match="still waiting after 30 ms"):
            await short
        bench.clock.advance(0.0701)
        with pytest.raises(QueueTimeout):
            await default
        batch.finish()
        assert await running == "a", "a timeout bounds the wait, not the run"
        assert (bench.batcher.stats.timed_out, bench.batcher.num_waiting) == (2, 0)


async def test_later_item_with_an_earlier_timeout_moves_the_timer() -> None:
    async with serve_items() as bench:
        running = bench.submit("a")
        batch = await bench.engine.next_batch()
        late, early = bench.ask("b", timeout_ms=500), bench.ask("c", timeout_ms=10)
        await let_run()
        bench.clock.advance(0.0101)
        with pytest.raises(QueueTimeout):
            await early
        assert not late.done()
        batch.finish()
        (await bench.engine.next_batch()).finish()
        assert await asyncio.gather(running, late) == ["a", "b"]


async def test_delayed_timeout_lets_the_item_run_last() -> None:
    async with serve_items(timeout_action="delay", default_timeout_ms=100, max_batch_size=1) as bench:
        running = bench.submit("a")
        batch = await bench.engine.next_batch()
        late = bench.submit("late", timeout_ms=10)
        await let_run()
        bench.clock.advance(0.0101)
        await let_run()
        in_time = bench.submit("in time")
        await let_run()
        batch.finish()
        order = []
        for _ in range(2):
            batch = await bench.engine.next_batch()
            order += batch.items
            batch.finish()
        assert order == ["in time", "late"]
        await asyncio.gather(running, late, in_time)


async def test_full_queue_refuses_at_once() -> None:
    async with serve_items(max_queue_size=1) as bench:
        tasks = [bench.submit("a")]
        batch = await bench.engine.next_batch()
        tasks.append(bench.submit("b"))
        await let_run()
        with pytest.raises(Overloaded):
            await bench.ask("c")
        batch.finish()
        (await bench.engine.next_batch()).finish()
        await asyncio.gather(*tasks)


async def test_failing_batch_fails_only_its_own_items() -> None:
    async with serve_items(buckets=(10,)) as bench:
        failing, fine = bench.ask("a", 5), bench.ask("B", 50)
        (await bench.engine.next_batch()).fail(MemoryError())
        (await bench.engine.next_batch()).finish()
        with pytest.raises(BatchFailed, match="batch of 1 failed: MemoryError"):
            await failing
        assert await fine == "B"


async def test_workers_run_batches_side_by_side() -> None:
    async with serve_items(workers=2, max_batch_size=1) as bench:
        tasks = [bench.submit(item) for item in "abc"]
        batches = [await bench.engine.next_batch(), await bench.engine.next_batch()]
        await let_run()
        assert (bench.batcher.num_in_flight, bench.batcher.num_waiting) == (2, 1)
        for batch in batches:
            batch.finish()
        (await bench.engine.next_batch()).finish()
        assert await asyncio.gather(*tasks) == ["a", "b", "c"]


async def test_cancelled_waiting_item_is_taken_out() -> None:
    async with serve_items() as bench:
        running = bench.submit("a")
        batch = await bench.engine.next_batch()
        leaving = bench.submit("b", timeout_ms=50)
        await let_run()
        leaving.cancel()
        await asyncio.wait([leaving])
        await let_run()
        assert (bench.batcher.num_waiting, bench.clock.num_timers) == (0, 0)
        batch.finish()
        await running
