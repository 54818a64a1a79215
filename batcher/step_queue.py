"""Which chunk runs next: earliest deadline first, one item of a slot at a time, slots held while an item needs them.

Pure bookkeeping: `push`, `discard`, `next_batch`, `ended`. No task, no clock; the batch loop calls it with the time.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import Generic

from batcher.config import StepConfig
from batcher.errors import Overloaded
from batcher.pending import Item, Pending, Ranked, Result
from batcher.policy import batch_size, effective_deadline, wake_at
from batcher.slots import Lease, SlotPool


class PendingStep(Pending[Item, Result]):
    """A chunk of the stream that owns `lease`. `key` ranks it while it is ready, and is None before and after."""

    __slots__ = ("deadline", "key", "lease")

    def __init__(
        self,
        item: Item,
        future: "asyncio.Future[Result]",
        since: float,
        lease: Lease,
        deadline: float,
        is_followed: bool = False,
    ) -> None:
        super().__init__(item, future, since, is_followed)
        self.lease = lease
        self.deadline = deadline
        self.key: tuple[float, ...] | None = None


class StepQueue(Generic[Item, Result]):
    """The waiting chunks of one engine's streams. Owned by one batch loop.

    A slot has the turn from the moment its first item is ready until that item ends; its later items wait behind in
    the order they came, whatever their deadlines, because each needs the state the one before it writes.
    """

    next_expiry = math.inf  # a chunk has a deadline to be ranked by, never a timeout

    def __init__(self, config: StepConfig, slots: SlotPool) -> None:
        self._config = config
        self._slots = slots
        self._ready: Ranked[PendingStep[Item, Result]] = Ranked()
        self._has_turn: set[int] = set()
        self._behind: dict[int, deque[PendingStep[Item, Result]]] = {}
        self._num_behind = 0
        self._serial = 0

    def __len__(self) -> int:
        return len(self._ready) + self._num_behind

    def push(self, pending: PendingStep[Item, Result]) -> None:
        """Queue an item and hold its slot. Raises Overloaded or StaleLease, and has then done nothing."""
        if len(self) >= self._config.max_queue_size:
            raise Overloaded(len(self), self._config.max_queue_size)
        self._slots.hold(pending.lease)
        slot = pending.lease.slot
        if slot in self._has_turn:
            self._behind.setdefault(slot, deque()).append(pending)
            self._num_behind += 1
        else:
            self._has_turn.add(slot)
            self._make_ready(pending)

    def discard(self, pending: PendingStep[Item, Result], now: float) -> bool:
        """Take back an item that still waits; False when a batch has it or had it."""
        slot = pending.lease.slot
        if pending.key is not None:
            self._ready.remove(pending.key)
            pending.key = None
            self._slots.unhold(pending.lease)
            self._pass_turn(slot, now)
            return True
        if pending not in self._behind.get(slot, ()):
            return False
        self._behind[slot].remove(pending)
        self._num_behind -= 1
        self._slots.unhold(pending.lease)
        return True

    def expire(self, now: float) -> list[PendingStep[Item, Result]]:
        return []

    def next_batch(self, now: float) -> tuple[list[PendingStep[Item, Result]], float]:
        """Take the items of the next step, earliest deadline first; or none, and the time to ask again."""
        num_ready = min(len(self._ready), self._config.max_batch_size)
        if not num_ready:
            return [], math.inf
        oldest = self._oldest_since()
        size = batch_size(num_ready, num_ready == self._config.max_batch_size, oldest, now, self._config)
        batch = self._ready.take(size)
        for pending in batch:
            pending.key = None
        return batch, math.inf if batch else wake_at(oldest, self._config)

    def ended(self, batch: Sequence[PendingStep[Item, Result]], now: float) -> None:
        """Let go of the slots of a batch that has run, and let their next items become ready."""
        for pending in batch:
            self._slots.unhold(pending.lease)
            self._pass_turn(pending.lease.slot, now)

    def clear(self) -> list[PendingStep[Item, Result]]:
        """Take out everything that waits. Slots of batches in flight stay held."""
        ready = self._ready.take(len(self._ready))
        behind = [pending for waiting in self._behind.values() for pending in waiting]
        self._has_turn.difference_update(pending.lease.slot for pending in ready)
        self._behind.clear()
        self._num_behind = 0
        for pending in (*ready, *behind):
            pending.key = None
            self._slots.unhold(pending.lease)
        return ready + behind

    def _oldest_since(self) -> float:
        if len(self._ready) >= self._config.max_batch_size or not self._config.max_queue_delay_ms:
            return -math.inf  # the step starts now whatever its items' ages are
        return min(pending.since for pending in self._ready.first(self._config.max_batch_size))

    def _make_ready(self, pending: PendingStep[Item, Result]) -> None:
        self._serial += 1
        pending.key = (effective_deadline(pending.deadline, pending.since, self._config), self._serial)
        self._ready.add(pending.key, pending)

    def _pass_turn(self, slot: int, now: float) -> None:
        waiting = self._behind.get(slot)
        if not waiting:
            self._has_turn.discard(slot)
            self._behind.pop(slot, None)
            return
        pending = waiting.popleft()
        self._num_behind -= 1
        pending.since = now
        self._make_ready(pending)
