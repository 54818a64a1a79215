"""Which whole-utterance items run next: strict priorities, length buckets, timeouts.

Where Triton closes a batch at the first item of another shape, here the first item only decides the bucket: the batch
takes the other items of that bucket from anywhere in the queue, in their order. No task, no clock.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Generic

from batcher.config import DynamicConfig
from batcher.errors import Overloaded
from batcher.pending import Item, Pending, Ranked, Result
from batcher.policy import batch_size, bucket_of, prefix_fit, wake_at


class PendingItem(Pending[Item, Result]):
    """An item with its length, priority level and moment of expiry (infinity for never).

    `key` is (level, late, serial) while it waits and None afterwards; late is 1 once a timeout has only delayed it.
    """

    __slots__ = ("bucket", "expires_at", "key", "length", "level")

    def __init__(
        self,
        item: Item,
        future: "asyncio.Future[Result]",
        since: float,
        length: int,
        level: int,
        expires_at: float = math.inf,
    ) -> None:
        super().__init__(item, future, since)
        self.length = length
        self.level = level
        self.expires_at = expires_at
        self.bucket = 0
        self.key: tuple[int, int, int] | None = None


class DynamicQueue(Generic[Item, Result]):
    """The waiting items of one engine. Owned by one batch loop."""

    def __init__(self, config: DynamicConfig) -> None:
        self._config = config
        self._buckets: list[Ranked[PendingItem[Item, Result]]] = [Ranked() for _ in range(len(config.buckets) + 1)]
        self._expiring: Ranked[PendingItem[Item, Result]] = Ranked()
        self._level_sizes = [0] * (config.priority_levels + 1)
        self._serial = 0

    def __len__(self) -> int:
        return sum(self._level_sizes)

    @property
    def next_expiry(self) -> float:
        """When the next timeout runs out, infinity for never."""
        return self._expiring.first_key[0] if self._expiring else math.inf

    def push(self, pending: PendingItem[Item, Result]) -> None:
        """Queue an item. Raises Overloaded when its priority level is full, and has then done nothing."""
        if self._level_sizes[pending.level] >= self._config.max_queue_size:
            raise Overloaded(self._level_sizes[pending.level], self._config.max_queue_size)
        self._level_sizes[pending.level] += 1
        self._serial += 1
        pending.bucket = bucket_of(pending.length, self._config.buckets)
        self._enter(pending, (pending.level, 0, self._serial))
        if pending.expires_at < math.inf:
            self._expiring.add((pending.expires_at, self._serial), pending)

    def discard(self, pending: PendingItem[Item, Result], now: float) -> bool:
        """Take back an item that still waits; False when a batch has it or had it."""
        if pending.key is None:
            return False
        self._buckets[pending.bucket].remove(pending.key)
        self._leave(pending)
        return True

    def expire(self, now: float) -> list[PendingItem[Item, Result]]:
        """Apply the timeouts that have run out: return the items to reject, move delayed ones behind their level."""
        rejected = []
        while self.next_expiry <= now:
            pending = self._expiring.take(1)[0]
            key = pending.key
            assert key is not None, "an item that no longer waits cannot expire"
            self._buckets[pending.bucket].remove(key)
            pending.expires_at = math.inf
            if self._config.timeout_action == "delay":
                self._enter(pending, (pending.level, 1, key[2]))
            else:
                self._leave(pending)
                rejected.append(pending)
        return rejected

    def next_batch(self, now: float) -> tuple[list[PendingItem[Item, Result]], float]:
        """Take the items of the next batch; or none, and the time to ask again."""
        waiting = min((bucket for bucket in self._buckets if bucket), key=lambda b: b.first_key, default=None)
        if waiting is None:
            return [], math.inf
        candidates = waiting.first(self._config.max_batch_size)
        num_fitting, is_full = prefix_fit([pending.length for pending in candidates], self._config)
        oldest = min(pending.since for pending in candidates[:num_fitting])
        batch = waiting.take(batch_size(num_fitting, is_full, oldest, now, self._config))
        for pending in batch:
            self._leave(pending)
        return batch, math.inf if batch else wake_at(oldest, self._config)

    def ended(self, batch: Sequence[PendingItem[Item, Result]], now: float) -> None:
        """Nothing is kept for items that have left the queue."""

    def clear(self) -> list[PendingItem[Item, Result]]:
        """Take out everything that waits."""
        cleared = [pending for bucket in self._buckets for pending in bucket.take(len(bucket))]
        for pending in cleared:
            self._leave(pending)
        return cleared

    def _enter(self, pending: PendingItem[Item, Result], key: tuple[int, int, int]) -> None:
        pending.key = key
        self._buckets[pending.bucket].add(key, pending)

    def _leave(self, pending: PendingItem[Item, Result]) -> None:
        assert pending.key is not None, "an item leaves the queue once"
        if pending.expires_at < math.inf:
            self._expiring.remove((pending.expires_at, pending.key[2]))
        self._level_sizes[pending.level] -= 1
        pending.key = None
