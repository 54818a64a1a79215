"""The scheduling rules, as functions."""

import math

import msgspec
import pytest

from batcher import BatchLimits, DynamicConfig, StepConfig
from batcher.policy import batch_size, bucket_of, effective_deadline, prefix_fit, priority_level, timeout_ms

WAITING = BatchLimits(max_batch_size=16, preferred_batch_sizes=(4, 8), max_queue_delay_ms=10)


@pytest.mark.parametrize(
    ("num_ready", "age_ms", "expected"),
    [(3, 0, 0), (4, 0, 4), (7, 9, 4), (9, 9, 8), (9, 10, 9), (1, 11, 1), (16, 0, 16)],
)
def test_young_batches_are_cut_to_a_preferred_size_and_old_ones_are_not(
    num_ready: int, age_ms: float, expected: int
) -> None:
    assert batch_size(num_ready, num_ready == 16, 5.0, 5.0 + age_ms / 1000, WAITING) == expected


def test_without_a_delay_everything_is_sent() -> None:
    assert batch_size(3, False, 5.0, 5.0, BatchLimits(preferred_batch_sizes=(8,))) == 3


def test_batch_that_takes_nothing_more_does_not_wait() -> None:
    assert batch_size(3, True, 5.0, 5.0, WAITING) == 3


def test_deadline_counts_at_most_the_bulk_wait() -> None:
    config = StepConfig(max_bulk_wait_ms=2000)
    assert effective_deadline(10.2, 10.0, config) == 10.2
    assert effective_deadline(1e9, 10.0, config) == 12.0


def test_bucket_bounds_are_inclusive_and_the_last_bucket_is_open() -> None:
    assert [bucket_of(length, (10, 20)) for length in (0, 10, 11, 20, 21)] == [0, 0, 1, 1, 2]


def test_unknown_priority_means_the_default_level() -> None:
    config = DynamicConfig(priority_levels=3, default_priority_level=2)
    assert [priority_level(p, config) for p in (0, 1, 3, 4, -1)] == [2, 1, 3, 2, 2]


@pytest.mark.parametrize(
    ("default", "requested", "expected"),
    [(0, None, None), (0, 50, 50), (100, None, 100), (100, 50, 50), (100, 500, 100), (100, 0, 100)],
)
def test_request_can_only_lower_the_timeout(default: float, requested: float | None, expected: float | None) -> None:
    assert timeout_ms(requested, DynamicConfig(default_timeout_ms=default)) == expected


def test_batch_is_closed_by_the_item_that_would_exceed_its_padded_length() -> None:
    config = DynamicConfig(max_batch_size=8, max_batch_length=100)
    assert prefix_fit([30, 30, 30, 30], config) == (3, True)
    assert prefix_fit([10, 60, 10], config) == (1, True)
    assert prefix_fit([30, 30], config) == (2, False)


def test_item_above_the_batch_length_runs_alone() -> None:
    assert prefix_fit([500, 10], DynamicConfig(max_batch_length=100)) == (1, True)


def test_batch_is_full_at_its_size() -> None:
    assert prefix_fit([1, 1, 1], DynamicConfig(max_batch_size=2)) == (2, True)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (StepConfig, {"max_batch_size": 4, "preferred_batch_sizes": [4, 8]}, r"\[8\] above max_batch_size 4"),
        (StepConfig, {"max_batch_size": 0}, r"Expected `int` >= 1 - at `\$.max_batch_size`"),
        (DynamicConfig, {"buckets": [20, 10]}, "buckets must ascend"),
        (DynamicConfig, {"default_priority_level": 2}, "above priority_levels 1"),
        (DynamicConfig, {"timeout_action": "ignore"}, "Invalid enum value 'ignore'"),
        (DynamicConfig, {"max_wait": 1}, "unknown field `max_wait`"),
    ],
)
def test_wrong_settings_are_named(kind: type[BatchLimits], settings: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(settings, kind)


def test_defaults_wait_for_nobody() -> None:
    for config in (StepConfig(), DynamicConfig()):
        assert batch_size(1, False, 5.0, 5.0, config) == 1
    assert effective_deadline(math.inf, 0.0, StepConfig()) == 2.0
