"""Lanes: copies of one streaming engine side by side, each with its thread, slots and batcher.

A step is not all one kernel: features, gathering, search and the interpreter's own work leave processors idle that the
graph could use. Two lanes of half the threads fill each other's gaps. A stream stays in its lane: its state is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from batcher.config import StepConfig
from batcher.errors import SlotsExhausted
from batcher.slots import Lease, SlotPool
from batcher.steps import StepBatcher
from engines.streaming import StepItem, StepOutput, StreamingEngine
from server.config import StreamingConfig

log = structlog.get_logger()


class Lane:
    """One engine at work. Built by `ServedModel`; used on the event loop only."""

    def __init__(self, engine: StreamingEngine, config: StreamingConfig, thread: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._thread = thread
        self.slots = SlotPool(engine.num_slots)
        limit = min(config.max_batch_size, engine.batch_limit)
        self.batcher = StepBatcher[StepItem, StepOutput](
            engine.run,
            StepConfig(
                max_batch_size=limit,
                preferred_batch_sizes=tuple(size for size in config.preferred_batch_sizes if size <= limit),
                max_queue_delay_ms=config.max_queue_delay_ms,
                max_queue_size=engine.num_slots,
            ),
            thread,
            self.slots,
        )

    async def step(self, item: StepItem, lease: Lease, deadline: float, is_followed: bool = False) -> StepOutput:
        """Run one chunk of the stream that owns `lease`; see `StepBatcher.submit`."""
        return await self.batcher.submit(item, lease, deadline, is_followed)

    def give_back(self, lease: Lease) -> None:
        """End a stream: its engine drops what the slot grew, and the slot is free once no step holds it."""
        if not lease.is_current:
            return
        try:
            # The engine's thread takes this before any step of the slot's next tenant, and after those in flight.
            self._thread.submit(self._engine.close_slot, lease.slot).add_done_callback(_log_failure)
        except RuntimeError:  # the thread has been shut down; a call that outlived it must still end
            log.warning("a slot was given back after its engine's end", slot=lease.slot)
        finally:
            lease.release()


def _log_failure(closing: Future[None]) -> None:
    """Nobody waits for a slot's closing, and what it failed to free would be missed only when memory runs out."""
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.error("a slot could not be closed: this is a bug of Chorus", exc_info=error)


class Lanes:
    """All lanes of one model, and their slots counted together."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = tuple(lanes)

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    def lease(self) -> tuple[Lane, Lease]:
        """Lease a slot in the lane that has most to spare. Raises SlotsExhausted naming the limit of all together."""
        lane = max(self._lanes, key=lambda each: each.slots.num_free)
        if lane.slots.num_free == 0:
            raise SlotsExhausted(self.num_slots)
        return lane, lane.slots.lease()

    @property
    def num_slots(self) -> int:
        return sum(lane.slots.num_slots for lane in self._lanes)

    @property
    def num_free(self) -> int:
        return sum(lane.slots.num_free for lane in self._lanes)

    @property
    def num_leased(self) -> int:
        return sum(lane.slots.num_leased for lane in self._lanes)

    @property
    def num_draining(self) -> int:
        return sum(lane.slots.num_draining for lane in self._lanes)

    def check_integrity(self) -> None:
        """Prove that no lane lost a slot. Raises AssertionError."""
        for lane in self._lanes:
            lane.slots.check_integrity()
