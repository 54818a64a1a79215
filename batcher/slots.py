"""Which stream owns which slot: counting only, the arrays behind the slots live in the engine.

A slot is free, leased, or draining: its lease was released while an item of it was still queued or on the engine's
thread. Cancelling a call does not stop that thread, so a draining slot is freed only by the last `unhold`.
"""

from types import TracebackType

from batcher.errors import SlotsExhausted, StaleLease


class Lease:
    """The right to one slot, from `SlotPool.lease` to `release`. Owned by one session; a context manager."""

    __slots__ = ("_pool", "generation", "slot")

    def __init__(self, pool: "SlotPool", slot: int, generation: int) -> None:
        self._pool = pool
        self.slot = slot
        self.generation = generation

    @property
    def is_current(self) -> bool:
        """Whether the lease has not been released."""
        return self._pool.owns(self)

    def release(self) -> None:
        """Ask for the slot back; it is freed when nothing holds it. A second release does nothing."""
        self._pool.release(self)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Lease(slot={self.slot}, generation={self.generation})"


class SlotPool:
    """All slots of one engine. Owned by the app, touched on the event loop only, so it needs no lock."""

    def __init__(self, num_slots: int) -> None:
        if num_slots < 1:
            raise ValueError(f"num_slots must be at least 1, got {num_slots}")
        # A stack with the lowest slot on top: few streams stay in few rows, and a row just used is still warm.
        self._free = list(range(num_slots - 1, -1, -1))
        self._leases: list[Lease | None] = [None] * num_slots
        self._holds = [0] * num_slots
        self._generations = [0] * num_slots
        self._num_draining = 0

    @property
    def num_slots(self) -> int:
        return len(self._holds)

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_draining(self) -> int:
        return self._num_draining

    @property
    def num_leased(self) -> int:
        return self.num_slots - self.num_free - self._num_draining

    def lease(self) -> Lease:
        """Lease a free slot under a generation number no earlier lease of it had.

        The row may hold an earlier stream's state: the caller marks its first item, so that the engine resets it on
        its own thread. Raises SlotsExhausted when none is free, also while some are only draining.
        """
        if not self._free:
            raise SlotsExhausted(self.num_slots)
        slot = self._free.pop()
        self._generations[slot] += 1
        lease = Lease(self, slot, self._generations[slot])
        self._leases[slot] = lease
        return lease

    def owns(self, lease: Lease) -> bool:
        """Whether `lease` is from this pool and not yet released."""
        return self._leases[lease.slot] is lease if lease.slot < self.num_slots else False

    def release(self, lease: Lease) -> None:
        """Give the slot back: free now when nothing holds it, draining otherwise. Does nothing when not owned."""
        if not self.owns(lease):
            return
        self._leases[lease.slot] = None
        if self._holds[lease.slot]:
            self._num_draining += 1
        else:
            self._free.append(lease.slot)

    def hold(self, lease: Lease) -> None:
        """Keep the slot from being freed until a matching `unhold`. Raises StaleLease after the release."""
        if not self.owns(lease):
            raise StaleLease(lease.slot, lease.generation)
        self._holds[lease.slot] += 1

    def unhold(self, lease: Lease) -> None:
        """Undo one `hold`; allowed after the release, and the last one then frees the slot."""
        slot = lease.slot
        if not self._holds[slot] or self._generations[slot] != lease.generation:
            raise RuntimeError(f"{lease} is not held")
        self._holds[slot] -= 1
        if not self._holds[slot] and self._leases[slot] is None:
            self._num_draining -= 1
            self._free.append(slot)

    def check_integrity(self) -> None:
        """Prove that free + leased + draining = total, every slot counted once. Raises AssertionError."""
        free = set(self._free)
        leased = {slot for slot, lease in enumerate(self._leases) if lease is not None}
        draining = {slot for slot, holds in enumerate(self._holds) if holds} - leased
        assert len(free) == len(self._free), f"a slot is free twice: {sorted(self._free)}"
        assert not free & (leased | draining), f"free slots in use: {sorted(free & (leased | draining))}"
        assert free | leased | draining == set(range(self.num_slots)), "a slot is lost"
        assert len(draining) == self._num_draining, f"{len(draining)} slots drain, counted {self._num_draining}"
