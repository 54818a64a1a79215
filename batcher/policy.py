"""The scheduling rules as functions of counts and times: no task, no clock, no queue.

Batch size follows Triton's dynamic batcher: while the oldest item is younger than the queue delay, the largest
preferred size that is reached is sent; from then on, everything that fits. Two differences: `max_batch_size` always
counts as preferred, and a batch closed for another reason than its size (its total length) is sent at once as well.
"""

from bisect import bisect_left
from collections.abc import Sequence

from batcher.config import BatchLimits, DynamicConfig, StepConfig


def batch_size(num_ready: int, is_full: bool, oldest_since: float, now: float, limits: BatchLimits) -> int:
    """Return how many of the `num_ready` items that fit one batch to start now; 0 means wait for `wake_at`.

    `is_full`: no further item would fit. `oldest_since`: when the longest waiting of them became ready, seconds.
    """
    if is_full or now >= wake_at(oldest_since, limits):
        return num_ready
    return max((size for size in limits.preferred_batch_sizes if size <= num_ready), default=0)


def wake_at(oldest_since: float, limits: BatchLimits) -> float:
    """Return the moment from which a batch no longer waits for company."""
    return oldest_since + limits.max_queue_delay_ms / 1000


def effective_deadline(deadline: float, ready_since: float, config: StepConfig) -> float:
    """Return the deadline that ranks an item: the caller's, but at most `max_bulk_wait_ms` after it became ready.

    Earliest deadline first lets live items overtake bulk ones, whose deadlines lie far ahead. Without the cap a
    sustained live load would starve bulk for ever; with it an item is overtaken for `max_bulk_wait_ms` at most, and
    every stream, however far ahead, gets at least one step per that time plus the queue it then stands in.
    """
    return min(deadline, ready_since + config.max_bulk_wait_ms / 1000)


def bucket_of(length: int, buckets: Sequence[int]) -> int:
    """Return the index of the first bucket whose bound is at least `length`, or `len(buckets)` for the open one."""
    return bisect_left(buckets, length)


def priority_level(priority: int, config: DynamicConfig) -> int:
    """Return the level of a request's priority: 1 is the highest, 0 and unknown ones mean the default (as Triton)."""
    return priority if 1 <= priority <= config.priority_levels else config.default_priority_level


def timeout_ms(requested_ms: float | None, config: DynamicConfig) -> float | None:
    """Return the timeout of an item, None for none: a request may only lower the default.

    Triton ignores a request's timeout when the default is "none"; here a finite one counts as lower than that.
    """
    default = config.default_timeout_ms or None
    if requested_ms is None or requested_ms <= 0:
        return default
    return requested_ms if default is None else min(requested_ms, default)


def prefix_fit(lengths: Sequence[int], config: DynamicConfig) -> tuple[int, bool]:
    """Return how many leading items make one batch, and whether the batch is full with them.

    The cost of a batch is what the engine computes, padding included: its items times its longest item. The first
    item always fits. Nothing is skipped: an item that does not fit ends the batch, so long items keep their turn.
    """
    longest = 0
    for count, length in enumerate(lengths[: config.max_batch_size]):
        longest = max(longest, length)
        if count and config.max_batch_length and (count + 1) * longest > config.max_batch_length:
            return count, True
    num_fitting = min(len(lengths), config.max_batch_size)
    return num_fitting, num_fitting == config.max_batch_size
