"""SlotPool: whatever the order of calls, a slot has one owner and none is lost."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from batcher import Lease, SlotPool, SlotsExhausted, StaleLease


def test_lowest_free_slot_is_leased_first() -> None:
    pool = SlotPool(3)
    assert [pool.lease().slot for _ in range(3)] == [0, 1, 2]


def test_lease_without_a_free_slot_names_the_limit() -> None:
    pool = SlotPool(2)
    pool.lease(), pool.lease()
    with pytest.raises(SlotsExhausted, match="all 2 are in use"):
        pool.lease()


def test_leaving_the_context_releases_the_slot() -> None:
    pool = SlotPool(1)
    with pool.lease() as lease:
        assert (lease.is_current, pool.num_free) == (True, 0)
    assert (lease.is_current, pool.num_free) == (False, 1)


def test_slot_gets_a_new_generation_with_every_lease() -> None:
    pool = SlotPool(1)
    generations = []
    for _ in range(3):
        with pool.lease() as lease:
            generations.append(lease.generation)
    assert generations == [1, 2, 3]


def test_released_slot_drains_until_its_last_hold_ends() -> None:
    pool = SlotPool(1)
    lease = pool.lease()
    pool.hold(lease)
    pool.hold(lease)
    lease.release()
    assert (pool.num_free, pool.num_leased, pool.num_draining) == (0, 0, 1)
    with pytest.raises(SlotsExhausted):
        pool.lease()
    pool.unhold(lease)
    assert pool.num_draining == 1
    pool.unhold(lease)
    assert (pool.num_free, pool.num_draining) == (1, 0)


def test_stale_lease_cannot_hold_the_next_streams_slot() -> None:
    pool = SlotPool(1)
    stale = pool.lease()
    stale.release()
    current = pool.lease()
    with pytest.raises(StaleLease, match="slot 0, generation 1"):
        pool.hold(stale)
    stale.release()
    assert current.is_current


def test_lease_of_another_pool_owns_nothing() -> None:
    pool, other = SlotPool(1), SlotPool(2)
    pool.lease()
    foreign = other.lease()
    with pytest.raises(StaleLease):
        pool.hold(foreign)
    pool.release(foreign)
    assert pool.num_leased == 1


def test_unhold_without_hold_is_a_bug_and_says_so() -> None:
    pool = SlotPool(1)
    with pytest.raises(RuntimeError, match="not held"):
        pool.unhold(pool.lease())


def test_pool_without_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        SlotPool(0)


class SlotPoolMachine(RuleBasedStateMachine):
    """Any order of lease, release, hold and unhold, compared with two sets of leases."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.pool = SlotPool(3)
        self.live: set[Lease] = set()
        self.holds: dict[Lease, int] = {}

    @rule(target=leases)
    def lease(self) -> Lease:
        in_use = {lease.slot for lease in self.live | set(self.holds)}
        if len(in_use) == 3:
            with pytest.raises(SlotsExhausted):
                self.pool.lease()
            return multiple()
        lease = self.pool.lease()
        assert lease.slot not in in_use
        self.live.add(lease)
        return lease

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        lease.release()
        self.live.discard(lease)

    @rule(lease=leases, count=st.integers(1, 2))
    def hold(self, lease: Lease, count: int) -> None:
        for _ in range(count):
            if lease not in self.live:
                with pytest.raises(StaleLease):
                    self.pool.hold(lease)
                return
            self.pool.hold(lease)
            self.holds[lease] = self.holds.get(lease, 0) + 1

    @rule(lease=leases)
    def unhold(self, lease: Lease) -> None:
        if lease not in self.holds:
            with pytest.raises(RuntimeError, match="not held"):
                self.pool.unhold(lease)
            return
        self.pool.unhold(lease)
        self.holds[lease] -= 1
        if not self.holds[lease]:
            del self.holds[lease]

    @invariant()
    def every_slot_is_counted_once(self) -> None:
        self.pool.check_integrity()
        assert self.pool.num_free + self.pool.num_leased + self.pool.num_draining == self.pool.num_slots
        assert self.pool.num_leased == len(self.live)
        assert self.pool.num_draining == len(set(self.holds) - self.live)
        assert all(lease.is_current for lease in self.live)


TestSlotPoolMachine = SlotPoolMachine.TestCase
