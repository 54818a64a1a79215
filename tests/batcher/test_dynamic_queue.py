"""DynamicQueue without a loop: buckets, priorities, timeouts."""

import asyncio
import math
from unittest.mock import Mock

import pytest

from batcher import DynamicConfig, Overloaded
from batcher.dynamic_queue import DynamicQueue, PendingItem

Waiting = PendingItem[str, str]


def add(
    queue: DynamicQueue[str, str],
    item: str,
    length: int = 1,
    level: int = 1,
    since: float = 0.0,
    expires: float = math.inf,
) -> Waiting:
    pending: Waiting = PendingItem(item, Mock(spec=asyncio.Future), since, length, level, expires)
    queue.push(pending)
    return pending


def batch(queue: DynamicQueue[str, str], now: float = 0.0) -> str:
    return "".join(pending.item for pending in queue.next_batch(now)[0])


def test_oldest_item_decides_the_bucket_and_the_rest_of_it_comes_along() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig(buckets=(10, 20)))
    for item, length in (("a", 5), ("B", 15), ("c", 10), ("D", 99), ("E", 20)):
        add(queue, item, length)
    assert [batch(queue), batch(queue), batch(queue), batch(queue)] == ["ac", "BE", "D", ""]


def test_higher_priority_runs_first_and_lower_ones_fill_its_batch() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig(max_batch_size=3, priority_levels=3))
    for item, level in (("c", 3), ("b", 2), ("a", 1), ("d", 3)):
        add(queue, item, level=level)
    assert [batch(queue), batch(queue)] == ["abc", "d"]


def test_higher_priority_that_comes_later_decides_the_bucket() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig(buckets=(10,), priority_levels=2))
    add(queue, "b", 5, level=2)
    add(queue, "A", 50, level=1)
    assert [batch(queue), batch(queue)] == ["A", "b"]


def test_batch_waits_for_company_of_its_own_bucket_only() -> None:
    config = DynamicConfig(buckets=(10,), preferred_batch_sizes=(2,), max_queue_delay_ms=10)
    queue: DynamicQueue[str, str] = DynamicQueue(config)
    add(queue, "a", 5)
    add(queue, "X", 50)
    assert queue.next_batch(0.0) == ([], 0.01)
    add(queue, "b", 5, since=0.005)
    assert batch(queue, 0.005) == "ab"
    assert batch(queue, 0.005) == ""
    assert batch(queue, 0.01) == "X"


def test_padded_length_limits_a_batch_and_what_is_left_goes_next() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig(max_batch_length=100, max_queue_delay_ms=10))
    for item, length in (("a", 40), ("b", 50), ("c", 20), ("d", 20)):
        add(queue, item, length)
    assert batch(queue) == "ab"
    assert batch(queue) == "", "two short ones still wait for company"
    assert batch(queue, 0.01) == "cd"


def test_each_priority_level_has_its_own_queue_bound() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig(max_queue_size=1, priority_levels=2))
    add(queue, "b", level=2)
    with pytest.raises(Overloaded):
        add(queue, "c", level=2)
    add(queue, "a", level=1)
    assert (len(queue), batch(queue), len(queue)) == (2, "ab", 0)


def test_rejected_timeout_takes_the_item_out() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig())
    add(queue, "late", expires=1.0)
    add(queue, "b", expires=2.0)
    assert queue.next_expiry == 1.0
    assert queue.expire(0.999) == []
    assert [pending.item for pending in queue.expire(1.0)] == ["late"]
    assert (queue.next_expiry, batch(queue)) == (2.0, "b")


def test_delayed_timeout_moves_the_item_behind_its_level_but_before_lower_ones() -> None:
    config = DynamicConfig(timeout_action="delay", priority_levels=2, max_batch_size=1)
    queue: DynamicQueue[str, str] = DynamicQueue(config)
    for item, level, expires in (("a", 1, 1.0), ("b", 1, math.inf), ("z", 2, math.inf)):
        add(queue, item, level=level, expires=expires)
    assert queue.expire(1.0) == []
    assert queue.next_expiry == math.inf
    assert [batch(queue), batch(queue), batch(queue)] == ["b", "a", "z"]


def test_item_that_left_the_queue_no_longer_expires() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig(max_batch_size=1))
    add(queue, "a", expires=1.0)
    gone = add(queue, "b", expires=1.0)
    queue.next_batch(0.0)
    assert queue.discard(gone, 0.0)
    assert not queue.discard(gone, 0.0)
    assert (queue.next_expiry, queue.expire(9.0), len(queue)) == (math.inf, [], 0)


def test_clear_takes_out_all_buckets() -> None:
    queue: DynamicQueue[str, str] = DynamicQueue(DynamicConfig(buckets=(10,)))
    add(queue, "a", 5, expires=1.0)
    add(queue, "b", 50)
    assert [pending.item for pending in queue.clear()] == ["a", "b"]
    assert (len(queue), queue.next_expiry) == (0, math.inf)
