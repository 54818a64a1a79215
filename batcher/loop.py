"""The one task of a batcher: takes batches from its queue, hands them to the executor, gives out their results.

Everything but the engine's `run` happens on the event loop's thread, so nothing here is locked. Batches are started by
callbacks, which cost less than waking a task: the end of a batch, which finds the engine free, starts the next one
before its waiters run; a first item waits for those that arrive in the same turn of the event loop; a timer may have
been asked for. The task only waits for the end.
"""

import asyncio
import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Generic, Protocol, TypeVar

from batcher.clock import Clock, Timer
from batcher.errors import BatcherClosed, BatchFailed, QueueTimeout
from batcher.pending import Pending
from batcher.stats import BatcherStats

Waiting = TypeVar("Waiting", bound=Pending[Any, Any])

FOLLOWING_TURNS = 3
"""Turns of the event loop from a result to the next item of its stream: the waiter wakes up, begins a task, submits."""


class Queue(Protocol[Waiting]):
    """What the loop asks of a queue; `StepQueue` and `DynamicQueue` are the two."""

    def __len__(self) -> int: ...
    @property
    def next_expiry(self) -> float: ...
    def push(self, pending: Waiting) -> None: ...
    def discard(self, pending: Waiting, now: float) -> bool: ...
    def expire(self, now: float) -> list[Waiting]: ...
    def next_batch(self, now: float) -> tuple[list[Waiting], float]: ...
    def ended(self, batch: Sequence[Waiting], now: float) -> None: ...
    def clear(self) -> list[Waiting]: ...


class Flight(Generic[Waiting]):
    """A batch on the engine's thread."""

    __slots__ = ("batch", "ended_at", "started_at")

    def __init__(self, batch: list[Waiting], started_at: float) -> None:
        self.batch = batch
        self.started_at = started_at
        self.ended_at = started_at


class BatchLoop(Generic[Waiting]):
    """Owned by one batcher; lives from its construction to the end of `serve`."""

    def __init__(
        self,
        queue: Queue[Waiting],
        run: Callable[[list[Any]], Sequence[Any]],
        executor: Executor,
        workers: int,
        clock: Clock,
    ) -> None:
        self.stats = BatcherStats()
        self.clock = clock
        self._queue = queue
        self._run = run
        self._executor = executor
        self._workers = workers
        self._flights: set[Flight[Waiting]] = set()
        self._end = asyncio.Event()
        self._empty = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: Timer | None = None
        self._timer_at = math.inf
        self._is_asked = False
        self._is_closed = False
        self._has_ended = False
        self._crash: BaseException | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    @property
    def num_in_flight(self) -> int:
        """Batches on the engine's threads."""
        return len(self._flights)

    async def submit(self, pending: Waiting) -> Any:
        """Queue an item and wait for its result; cancelling takes it out of the queue, or leaves its batch be."""
        if self._is_closed:
            raise BatcherClosed
        try:
            self._queue.push(pending)
        except Exception:
            self.stats.rejected += 1
            raise
        self.stats.submitted += 1
        if len(self._flights) < self._workers or self._queue.next_expiry < self._timer_at:
            self._ask_to_start()
        try:
            return await pending.future
        finally:
            if pending.future.cancelled():
                self._forget(pending)

    async def serve(self) -> None:
        """Run batches until `close`, then until those in flight have ended.

        To be a task of the app's TaskGroup. Raises whatever was wrong in the loop itself, never an engine's error;
        then, and when cancelled, every waiter gets BatcherClosed, while slots stay held until their batch has ended.
        """
        if self._loop is not None:
            raise RuntimeError("serve() runs once in a batcher's life")
        self._loop = asyncio.get_running_loop()
        try:
            self._start_batches()
            while not self._is_closed or self._flights:
                self._end.clear()
                await self._end.wait()
                if self._crash is not None:
                    raise self._crash
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            self._is_closed = self._has_ended = True
            self._set_timer(math.inf)

    async def drain(self) -> None:
        """Wait until nothing waits and nothing is in flight. New items are still taken, and waited for."""
        while self._queue or self._flights:
            self._empty.clear()
            await self._empty.wait()

    def close(self) -> None:
        """Refuse new items and fail the waiting ones with BatcherClosed; `serve` returns after those in flight."""
        self._is_closed = True
        self._fail_all(self._queue.clear(), None)
        self._end.set()
        self._announce_if_empty()

    def _ask_to_start(self) -> None:
        """Start batches once what is ready to run on the event loop has run."""
        if self._loop is not None and not self._is_asked:
            self._is_asked = True
            self._loop.call_soon(self._start_what_waits)

    def _start_after(self, turns: int) -> None:
        """Start batches when the event loop has gone round `turns` times."""
        assert self._loop is not None, "serve started a batch"
        if turns:
            self._loop.call_soon(self._start_after, turns - 1)
        else:
            self._start_what_waits()

    def _start_what_waits(self) -> None:
        """Start batches from a callback, where a bug would be lost: it ends `serve` instead."""
        self._is_asked = False
        if self._has_ended or self._crash is not None:
            return
        try:
            self._start_batches()
        except BaseException as error:
            self._crash = error
            self._end.set()

    def _start_batches(self) -> None:
        now = self.clock.now()
        for pending in self._queue.expire(now):
            waited_ms = 1000 * (now - pending.since)
            self.stats.timed_out += pending.fail(QueueTimeout(waited_ms))
        look_again = math.inf
        while len(self._flights) < self._workers and self._queue:
            batch, look_again = self._queue.next_batch(now)
            if not batch:
                break
            self._start(batch, now)
        self._set_timer(min(look_again, self._queue.next_expiry))
        self._announce_if_empty()

    def _start(self, batch: list[Waiting], now: float) -> None:
        flight = Flight(batch, now)
        self._flights.add(flight)
        self.stats.batches += 1
        self.stats.batch_size.observe(len(batch))
        for pending in batch:
            self.stats.queue_delay_s.observe(now - pending.since)
        try:
            future = self._executor.submit(self._run, [pending.item for pending in batch])
        except BaseException as error:  # the executor is shut down: no batch can ever run again
            self._flights.remove(flight)
            self._queue.ended(batch, now)
            self._fail_all(batch, error)
            raise
        future.add_done_callback(functools.partial(self._land, flight))

    def _land(self, flight: Flight[Waiting], future: "Future[Sequence[Any]]") -> None:
        """Called on the engine's thread when the batch has ended, or where the executor dropped it."""
        flight.ended_at = self.clock.now()
        assert self._loop is not None, "serve started this batch"
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to wait
            self._loop.call_soon_threadsafe(self._settle, flight, future)

    def _settle(self, flight: Flight[Waiting], future: "Future[Sequence[Any]]") -> None:
        """Give out a batch's results; a bug in here ends `serve`, as an exception in a callback would be lost."""
        try:
            self._flights.remove(flight)
            self._queue.ended(flight.batch, flight.ended_at)
            self.stats.run_s.observe(flight.ended_at - flight.started_at)
            self._give_out(flight.batch, future)
        except BaseException as error:
            self._crash = error
            self._fail_all(flight.batch, error)  # no longer in flight, so `_abort` would miss them
            if self._has_ended:
                raise  # no task left to end: the loop's exception handler is the last one to tell
            self._end.set()
        else:
            self._start_after(FOLLOWING_TURNS if any(pending.is_followed for pending in flight.batch) else 0)
        if self._is_closed:
            self._end.set()
        self._announce_if_empty()

    def _give_out(self, batch: list[Waiting], future: "Future[Sequence[Any]]") -> None:
        results, why, cause = _outcome(future, len(batch))
        if why is None:
            for pending, result in zip(batch, results, strict=True):
                self.stats.done += pending.complete(result)
            return
        self.stats.batches_failed += 1
        for pending in batch:
            # One error each: a shared one would collect the traceback of every waiter.
            error = BatchFailed(len(batch), why)
            error.__cause__ = cause
            self.stats.failed += pending.fail(error)

    def _forget(self, pending: Waiting) -> None:
        self.stats.cancelled += 1
        self._queue.discard(pending, self.clock.now())
        # Taking one item out may leave another one first, or the queue empty.
        self._ask_to_start()
        self._announce_if_empty()

    def _abort(self, error: BaseException) -> None:
        self._is_closed = True
        in_flight = [pending for flight in self._flights for pending in flight.batch]
        self._fail_all(self._queue.clear() + in_flight, error)
        self._announce_if_empty()

    def _fail_all(self, waiting: list[Waiting], cause: BaseException | None) -> None:
        for pending in waiting:
            error = BatcherClosed()
            error.__cause__ = cause
            self.stats.closed += pending.fail(error)

    def _set_timer(self, when: float) -> None:
        if when == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self.clock.call_at(when, self._on_timer) if when < math.inf else None

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self._start_what_waits()

    def _announce_if_empty(self) -> None:
        if not self._queue and not self._flights:
            self._empty.set()


def _outcome(
    future: "Future[Sequence[Any]]", batch_size: int
) -> tuple[Sequence[Any], str | None, BaseException | None]:
    """Return (results, None, None), or ((), why, cause) when the batch has no result for every item."""
    if future.cancelled():
        return (), "the executor was shut down before it ran", None
    error = future.exception()
    if error is not None:
        return (), f"{type(error).__name__}: {error}", error
    results: object = future.result()
    if not isinstance(results, Sequence):
        return (), f"expected a sequence of {batch_size} results, got {type(results).__name__}", None
    if len(results) != batch_size:
        return (), f"got {len(results)} results for {batch_size} items", None
    return results, None, None
