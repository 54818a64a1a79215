"""StepBatcher with a gated engine: filling, cancelling, failing, ending."""

import asyncio
from random import Random
from unittest.mock import Mock

import pytest

from batcher import BatcherClosed, BatchFailed, Overloaded, SlotsExhausted, StaleLease
from tests.batcher.benches import serve_steps
from tests.fakes import let_run

pytestmark = pytest.mark.asyncio


async def test_idle_engine_starts_at_once_and_a_busy_one_fills_the_next_step() -> None:
    async with serve_steps() as bench:
        first = bench.submit("a")
        step = await bench.engine.next_batch()
        others = [bench.submit(item) for item in "bcd"]
        await let_run()
        assert step.items == ["a"]
        step.finish(["A"])
        assert await first == "A"
        step = await bench.engine.next_batch()
        assert step.items == ["b", "c", "d"]
        step.finish(["B", "C", "D"])
        assert await asyncio.gather(*others) == ["B", "C", "D"]


async def test_the_end_of_a_step_starts_the_next_before_its_waiters_run() -> None:
    """They write results for a millisecond; the engine must not wait for that."""
    async with serve_steps() as bench:
        in_flight = []

        async def wait() -> None:
            await bench.batcher.submit("a", bench.slots.lease(), 0.0)
            in_flight.append(bench.batcher.num_in_flight)

        first = bench.tasks.create_task(wait())
        step = await bench.engine.next_batch()
        bench.submit("b")
        await let_run()
        step.finish()
        await first
        assert in_flight == [1]
        (await bench.engine.next_batch()).finish()


async def test_a_followed_item_finds_its_follower_in_the_next_step() -> None:
    """Its waiter submits from a task that it begins when it has the result; others wait already."""
    async with serve_steps() as bench:
        lease = bench.slots.lease()

        async def wait() -> None:
            await bench.batcher.submit("a", lease, 0.0, is_followed=True)
            await asyncio.create_task(bench.batcher.submit("b", lease, 0.0))

        both = bench.tasks.create_task(wait())
        step = await bench.engine.next_batch()
        other = bench.submit("c", 1.0)
        await let_run()
        step.finish()
        step = await bench.engine.next_batch()
        assert step.items == ["b", "c"]
        step.finish()
        await asyncio.gather(both, other)


async def test_items_submitted_in_one_turn_of_the_loop_share_the_first_step() -> None:
    async with serve_steps(max_batch_size=2) as bench:
        tasks = [bench.submit(item, deadline) for item, deadline in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
        step = await bench.engine.next_batch()
        assert step.items == ["b", "c"]
        step.finish()
        (await bench.engine.next_batch()).finish()
        assert await asyncio.gather(*tasks) == ["a", "b", "c"]


async def test_delay_holds_a_step_of_an_idle_engine_until_a_preferred_size_or_its_end() -> None:
    async with serve_steps(preferred_batch_sizes=(2,), max_queue_delay_ms=10) as bench:
        bench.submit("a")
        await let_run()
        assert (bench.batcher.num_in_flight, bench.clock.num_timers) == (0, 1)
        bench.submit("b")
        step = await bench.engine.next_batch()
        assert (step.items, bench.clock.num_timers) == (["a", "b"], 0)
        step.finish()
        await bench.batcher.drain()
        last = bench.submit("c")
        await let_run()
        bench.clock.advance(0.0099)
        await let_run()
        assert bench.batcher.num_in_flight == 0
        bench.clock.advance(0.0002)
        step = await bench.engine.next_batch()
        assert step.items == ["c"]
        step.finish()
        await last


async def test_no_timer_is_set_without_a_delay() -> None:
    async with serve_steps() as bench:
        task = bench.submit("a")
        step = await bench.engine.next_batch()
        assert bench.clock.num_timers == 0
        step.finish()
        await task
        assert bench.clock.num_timers == 0


async def test_workers_run_steps_side_by_side_but_never_one_slot_twice() -> None:
    async with serve_steps(workers=2, max_batch_size=1) as bench:
        lease = bench.slots.lease()
        first = bench.submit("a1", 1.0, lease)
        second = bench.submit("a2", 0.5, lease)
        step_a = await bench.engine.next_batch()
        third = bench.submit("b", 9.0)
        step_b = await bench.engine.next_batch()
        assert (step_a.items, step_b.items) == (["a1"], ["b"])
        step_b.finish()
        await third
        await let_run()
        assert bench.batcher.num_in_flight == 1
        step_a.finish()
        await first
        (await bench.engine.next_batch()).finish()
        assert await second == "a2"


async def test_cancelled_stream_keeps_its_slot_until_the_batch_ends() -> None:
    """Freed earlier, the slot's next stream would start while the engine still writes the old one's state."""
    async with serve_steps(num_slots=1) as bench:

        async def stream() -> None:
            with bench.batcher.lease() as lease:
                await bench.batcher.submit("a", lease, 0.0)

        task = bench.tasks.create_task(stream())
        step = await bench.engine.next_batch()
        task.cancel()
        await asyncio.wait([task])
        assert (bench.slots.num_free, bench.slots.num_draining) == (0, 1)
        with pytest.raises(SlotsExhausted):
            bench.batcher.lease()
        step.finish()
        await bench.batcher.drain()
        assert (bench.slots.num_free, bench.slots.num_draining) == (1, 0)
        assert bench.batcher.stats.cancelled == 1


async def test_cancelled_waiter_in_flight_does_not_break_its_neighbours() -> None:
    async with serve_steps() as bench:
        leaving, staying = bench.submit("a"), bench.submit("b")
        step = await bench.engine.next_batch()
        leaving.cancel()
        await asyncio.wait([leaving])
        step.finish()
        assert await staying == "b"
        later = bench.submit("c")
        (await bench.engine.next_batch()).finish()
        assert await later == "c"


async def test_cancelled_waiting_item_never_reaches_the_engine_and_frees_its_slot_at_once() -> None:
    async with serve_steps(num_slots=2, max_queue_size=1) as bench:
        first = bench.submit("a")
        step = await bench.engine.next_batch()
        lease = bench.slots.lease()
        waiting = bench.submit("b", lease=lease)
        await let_run()
        waiting.cancel()
        await asyncio.wait([waiting])
        lease.release()
        assert (bench.slots.num_free, bench.batcher.num_waiting) == (1, 0)
        replacement = bench.submit("c")
        step.finish()
        await first
        step = await bench.engine.next_batch()
        assert step.items == ["c"]
        step.finish()
        await replacement


async def test_new_item_of_a_cancelled_one_waits_for_the_step_in_flight() -> None:
    async with serve_steps(workers=2) as bench:
        lease = bench.slots.lease()
        task = bench.submit("old", lease=lease)
        step = await bench.engine.next_batch()
        task.cancel()
        again = bench.submit("new", lease=lease)
        await let_run()
        assert bench.batcher.num_in_flight == 1
        step.finish()
        step = await bench.engine.next_batch()
        assert step.items == ["new"]
        step.finish()
        await again


async def test_full_queue_refuses_at_once() -> None:
    async with serve_steps(max_queue_size=1) as bench:
        tasks = [bench.submit("a")]
        step = await bench.engine.next_batch()
        tasks.append(bench.submit("b"))
        await let_run()
        with pytest.raises(Overloaded, match="1 items waiting, at most 1"):
            await bench.ask("c")
        assert bench.batcher.stats.rejected == 1
        step.finish()
        (await bench.engine.next_batch()).finish()
        assert await asyncio.gather(*tasks) == ["a", "b"]


async def test_released_lease_cannot_submit() -> None:
    async with serve_steps() as bench:
        lease = bench.slots.lease()
        lease.release()
        with pytest.raises(StaleLease):
            await bench.batcher.submit("a", lease, 0.0)


async def test_failing_batch_fails_its_items_with_the_cause_and_the_loop_goes_on() -> None:
    async with serve_steps() as bench:
        tasks = [bench.ask(item) for item in "ab"]
        error = ValueError("no such shape")
        (await bench.engine.next_batch()).fail(error)
        failures = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(failure) for failure in failures] == [BatchFailed, BatchFailed]
        assert [str(failure) for failure in failures] == ["batch of 2 failed: ValueError: no such shape"] * 2
        assert failures[0] is not failures[1]
        assert all(isinstance(failure, BatchFailed) and failure.__cause__ is error for failure in failures)
        after = bench.submit("c")
        (await bench.engine.next_batch()).finish()
        assert await after == "c"
        assert (bench.batcher.stats.batches_failed, bench.batcher.stats.failed, bench.batcher.stats.done) == (1, 2, 1)


@pytest.mark.parametrize(
    ("results", "message"),
    [(["only one"], "got 1 results for 2 items"), (7, "expected a sequence of 2 results, got int")],
)
async def test_wrong_number_of_results_fails_the_batch(results: list[str], message: str) -> None:
    async with serve_steps() as bench:
        tasks = [bench.ask(item) for item in "ab"]
        (await bench.engine.next_batch()).finish(results)
        failures = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(failure) for failure in failures] == [f"batch of 2 failed: {message}"] * 2


async def test_close_fails_what_waits_and_lets_the_step_in_flight_end() -> None:
    async with serve_steps() as bench:
        running = bench.submit("a")
        step = await bench.engine.next_batch()
        waiting = bench.ask("b")
        await let_run()
        bench.batcher.close()
        with pytest.raises(BatcherClosed):
            await waiting
        with pytest.raises(BatcherClosed):
            await bench.ask("c")
        assert not bench.serving.done()
        step.finish()
        assert await running == "a"
        await bench.serving
        assert bench.batcher.stats.closed == 1


async def test_drain_waits_for_the_queue_and_the_step_in_flight() -> None:
    async with serve_steps(max_batch_size=1) as bench:
        await bench.batcher.drain()
        tasks = [bench.submit("a"), bench.submit("b")]
        step = await bench.engine.next_batch()
        drained = bench.tasks.create_task(bench.batcher.drain())
        step.finish()
        step = await bench.engine.next_batch()
        await let_run()
        assert not drained.done()
        step.finish()
        await drained
        assert await asyncio.gather(*tasks) == ["a", "b"]


async def test_drain_ends_when_the_last_waiter_goes_away() -> None:
    async with serve_steps(preferred_batch_sizes=(2,), max_queue_delay_ms=10) as bench:
        task = bench.submit("a")
        await let_run()
        drained = bench.tasks.create_task(bench.batcher.drain())
        await let_run()
        task.cancel()
        await drained
        await let_run()
        assert bench.clock.num_timers == 0


async def test_bug_in_the_loop_reaches_its_owner_and_every_waiter(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_steps() as bench:
        running = bench.ask("a")
        step = await bench.engine.next_batch()
        waiting = bench.ask("b")
        await let_run()
        bench.crash = ZeroDivisionError("a bug")
        monkeypatch.setattr("batcher.loop._outcome", Mock(side_effect=bench.crash))
        step.finish()
        await asyncio.wait([bench.serving])
        for task in (running, waiting):
            with pytest.raises(BatcherClosed) as caught:
                await task
            assert caught.value.__cause__ is bench.crash
        with pytest.raises(BatcherClosed):
            await bench.ask("c")
        await bench.batcher.drain()


async def test_shut_down_executor_is_a_crash_and_not_a_hang() -> None:
    async with serve_steps() as bench:
        bench.executor.shutdown()
        task = bench.ask("a")
        with pytest.raises(BatcherClosed):
            await task
        (bench.crash,) = await asyncio.gather(bench.serving, return_exceptions=True)
        assert "after shutdown" in str(bench.crash)
        await bench.batcher.drain()


async def test_batch_dropped_by_the_executor_fails_its_items() -> None:
    async with serve_steps(workers=2, max_batch_size=1) as bench:
        executor = bench.executor
        blocker = executor.submit(bench.engine.run, ["blocker"]), executor.submit(bench.engine.run, ["blocker"])
        task = bench.ask("a")
        gates = [await bench.engine.next_batch(), await bench.engine.next_batch()]
        await let_run()
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(BatchFailed, match="executor was shut down before it ran"):
            await task
        for gate in gates:
            gate.finish()
        assert [future.result() for future in blocker] == [["blocker"], ["blocker"]]


async def test_cancelled_serve_fails_its_waiters_and_keeps_slots_until_the_step_ends() -> None:
    async with serve_steps(num_slots=1) as bench:
        lease = bench.slots.lease()
        running = bench.ask("a", lease)
        step = await bench.engine.next_batch()
        bench.serving.cancel()
        bench.crash = asyncio.CancelledError()
        with pytest.raises(BatcherClosed):
            await running
        lease.release()
        assert bench.slots.num_draining == 1
        step.finish()
        await bench.batcher.drain()
        assert bench.slots.num_free == 1


async def test_serve_runs_once() -> None:
    async with serve_steps() as bench:
        await let_run()
        with pytest.raises(RuntimeError, match="once"):
            await bench.batcher.serve()


async def test_serve_of_a_closed_batcher_returns() -> None:
    async with serve_steps() as bench:
        bench.batcher.close()
        bench.batcher.close()
        await bench.serving


async def test_stats_tell_sizes_delays_and_run_times() -> None:
    async with serve_steps() as bench:
        first = bench.submit("a")
        step = await bench.engine.next_batch()
        others = [bench.submit("b"), bench.submit("c")]
        await let_run()
        bench.clock.advance(0.03)
        step.finish()
        await first
        (await bench.engine.next_batch()).finish()
        await asyncio.gather(*others)
        stats = bench.batcher.stats
        assert (stats.submitted, stats.done, stats.batches) == (3, 3, 2)
        assert (stats.batch_size.count, stats.batch_size.sum) == (2, 3)
        assert stats.queue_delay_s.sum == pytest.approx(0.06)
        assert stats.run_s.sum == pytest.approx(0.03)


async def test_thousands_of_cancelled_streams_leave_nothing_behind() -> None:
    """Seeded churn: streams leave while waiting, while in flight, or not at all."""
    random = Random(7)
    async with serve_steps(num_slots=16, max_batch_size=4, workers=2) as bench:

        async def stream() -> None:
            with bench.batcher.lease() as lease:
                for chunk in range(random.randint(1, 3)):
                    await bench.batcher.submit(chunk, lease, random.random())

        async def end_batches() -> None:
            while True:
                (await bench.engine.next_batch()).finish()

        for _ in range(300):
            streams = [bench.tasks.create_task(stream()) for _ in range(random.randint(2, 16))]
            await let_run(random.randint(0, 3))
            for task in random.sample(streams, len(streams) // 2):
                task.cancel()
            ending = bench.tasks.create_task(end_batches())
            await asyncio.wait(streams)
            await bench.batcher.drain()
            ending.cancel()
            assert (bench.slots.num_free, bench.batcher.num_waiting) == (16, 0)
            bench.slots.check_integrity()
        stats = bench.batcher.stats
        assert stats.submitted == stats.done + stats.cancelled
        assert stats.cancelled > 500
        assert len(asyncio.all_tasks()) <= 3, "the test, serve and the last ending"
