"""StepQueue without a loop: order, slots, and no starvation in either direction."""

import asyncio
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import Lease, Overloaded, SlotPool, StaleLease, StepConfig
from batcher.step_queue import PendingStep, StepQueue

Step = PendingStep[str, str]
BULK = 1e9  # a catching-up stream's deadline on the audio's clock: far ahead


def step(item: str, lease: Lease, deadline: float, since: float = 0.0) -> Step:
    return PendingStep(item, Mock(spec=asyncio.Future), since, lease, deadline)


def names(batch: list[Step]) -> list[str]:
    return [pending.item for pending in batch]


def make(num_slots: int = 4, **settings: float) -> tuple[StepQueue[str, str], SlotPool, list[Lease]]:
    slots = SlotPool(num_slots)
    config = StepConfig(**settings)  # type: ignore[arg-type]
    return StepQueue(config, slots), slots, [slots.lease() for _ in range(num_slots)]


def test_earliest_deadline_runs_first_and_ties_in_order_of_arrival() -> None:
    queue, _, leases = make(max_batch_size=2)
    for item, lease, deadline in zip("abcd", leases, (0.9, 0.1, 0.5, 0.1), strict=True):
        queue.push(step(item, lease, deadline))
    assert names(queue.next_batch(0.0)[0]) == ["b", "d"]
    assert names(queue.next_batch(0.0)[0]) == ["c", "a"]


def test_step_has_one_item_of_a_slot_and_the_rest_in_order_of_submission() -> None:
    queue, _, leases = make()
    for item, deadline in (("first", 9.0), ("second", 1.0), ("third", 0.5)):
        queue.push(step(item, leases[0], deadline))
    ran = []
    while queue:
        batch, _ = queue.next_batch(0.0)
        assert queue.next_batch(0.0)[0] == [], "the slot is in at most one step in flight"
        ran.append(names(batch))
        queue.ended(batch, 0.0)
    assert ran == [["first"], ["second"], ["third"]]


def test_queued_item_holds_its_slot_until_the_batch_has_ended() -> None:
    queue, slots, leases = make(num_slots=1)
    queue.push(step("a", leases[0], 1.0))
    leases[0].release()
    batch, _ = queue.next_batch(0.0)
    assert slots.num_draining == 1
    queue.ended(batch, 0.0)
    assert slots.num_free == 1


def test_discarded_item_frees_its_slot_and_gives_its_turn_to_the_next() -> None:
    queue, slots, leases = make(num_slots=1)
    first, second, third = (step(item, leases[0], 1.0) for item in "abc")
    for pending in (first, second, third):
        queue.push(pending)
    assert queue.discard(second, 0.0)
    assert queue.discard(first, 0.0)
    assert not queue.discard(first, 0.0)
    assert names(queue.next_batch(0.0)[0]) == ["c"]
    assert not queue.discard(third, 0.0), "a batch has it"
    queue.ended([third], 0.0)
    leases[0].release()
    assert (len(queue), slots.num_free) == (0, 1)


def test_refused_item_leaves_nothing_behind() -> None:
    queue, slots, leases = make(num_slots=2, max_queue_size=1)
    queue.push(step("a", leases[0], 1.0))
    with pytest.raises(Overloaded, match="1 items waiting, at most 1"):
        queue.push(step("b", leases[1], 1.0))
    leases[1].release()
    assert slots.num_free == 1
    queue.next_batch(0.0)
    with pytest.raises(StaleLease):
        queue.push(step("c", leases[1], 1.0))
    assert len(queue) == 0


def test_clear_takes_out_everything_that_waits_and_leaves_batches_in_flight_their_slots() -> None:
    queue, slots, leases = make(num_slots=2, max_batch_size=1)
    for item, lease in (("a", leases[0]), ("b", leases[1]), ("behind", leases[0])):
        queue.push(step(item, lease, 1.0))
    batch, _ = queue.next_batch(0.0)
    assert sorted(names(queue.clear())) == ["b", "behind"]
    for lease in leases:
        lease.release()
    assert (slots.num_free, slots.num_draining) == (1, 1)
    queue.ended(batch, 0.0)
    assert slots.num_free == 2


def test_step_waits_for_a_preferred_size_until_its_oldest_item_is_too_old() -> None:
    queue, _, leases = make(preferred_batch_sizes=(2,), max_queue_delay_ms=10)
    queue.push(step("a", leases[0], 1.0, since=5.0))
    assert queue.next_batch(5.0) == ([], 5.01)
    queue.push(step("b", leases[1], 0.5, since=5.002))
    queue.push(step("c", leases[2], 0.1, since=5.002))
    assert names(queue.next_batch(5.002)[0]) == ["c", "b"]
    assert names(queue.next_batch(5.01)[0]) == ["a"]


def simulate(live_per_step: int, num_steps: int, max_batch_size: int) -> tuple[list[float], list[float]]:
    """Run 100 ms steps with `live_per_step` new live chunks each and two bulk streams that always have one waiting.

    Returns the queue delays of live and of bulk chunks, in seconds.
    """
    slots = SlotPool(max_batch_size * num_steps)
    queue: StepQueue[str, str] = StepQueue(StepConfig(max_batch_size=max_batch_size, max_bulk_wait_ms=2000), slots)
    live: list[float] = []
    bulk: list[float] = []
    for index in range(2):
        queue.push(step(f"bulk{index}", slots.lease(), BULK))
    for index in range(num_steps):
        now = index / 10
        for _ in range(live_per_step):
            queue.push(step("live", slots.lease(), now + 0.2, now))
        batch, _ = queue.next_batch(now)
        queue.ended(batch, now + 0.1)
        for pending in batch:
            (bulk if pending.item.startswith("bulk") else live).append(now - pending.since)
            if pending.item.startswith("bulk"):
                queue.push(step(pending.item, pending.lease, BULK, now + 0.1))
            else:
                pending.lease.release()
    return live, bulk


def test_bulk_never_delays_live_while_there_is_room_for_both() -> None:
    live, bulk = simulate(live_per_step=3, num_steps=100, max_batch_size=4)
    assert max(live) == 0.0
    assert len(bulk) == 100


def test_bulk_is_not_starved_by_a_live_load_that_fills_every_step() -> None:
    """Two bulk chunks every 2 s or so, for which a live chunk each waits a step or two longer."""
    live, bulk = simulate(live_per_step=4, num_steps=200, max_batch_size=4)
    assert len(bulk) >= 2 * 7
    assert max(bulk) <= 2.6
    assert max(live) <= 0.6


@given(st.lists(st.tuples(st.sampled_from("lprnxe"), st.integers(0, 5)), max_size=60))
def test_slots_are_never_lost_whatever_the_order_of_calls(calls: list[tuple[str, int]]) -> None:
    """lease, push, release, next batch, discard (x), end of a batch, in any order; then everything ends."""
    slots = SlotPool(3)
    queue: StepQueue[str, str] = StepQueue(StepConfig(max_batch_size=2, max_queue_size=5), slots)
    leases: list[Lease] = []
    pushed: list[Step] = []
    flights: list[list[Step]] = []
    for call, number in calls:
        if call == "l" and slots.num_free:
            leases.append(slots.lease())
        elif call == "p" and leases and leases[number % len(leases)].is_current and len(queue) < 5:
            pushed.append(step("item", leases[number % len(leases)], float(number)))
            queue.push(pushed[-1])
        elif call == "r" and leases:
            leases[number % len(leases)].release()
        elif call == "n":
            flights.append(queue.next_batch(0.0)[0])
        elif call == "x" and pushed:
            queue.discard(pushed[number % len(pushed)], 0.0)
        elif call == "e" and flights:
            queue.ended(flights.pop(number % len(flights)), 0.0)
        running = [pending.lease.slot for batch in flights for pending in batch]
        assert len(running) == len(set(running)), "a slot is in two steps in flight"
        assert all(not lease.is_current or lease.slot not in slots._free for lease in leases)
        slots.check_integrity()
    for batch in flights:
        queue.ended(batch, 0.0)
    queue.clear()
    for lease in leases:
        lease.release()
    assert (slots.num_free, len(queue)) == (3, 0)
