"""Settings of the two batchers. Read by msgspec, which checks types and bounds; cross-field rules are here."""

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a batch is big enough, for both batchers.

    With `max_queue_delay_ms` 0 an idle engine starts at once with what is there. With a delay it waits for one of
    `preferred_batch_sizes` (`max_batch_size` always counts as one) until the oldest item has waited that long,
    then takes what is there. `workers` batches may run at once: the executor needs that many threads.
    """

    max_batch_size: Count = 32
    preferred_batch_sizes: tuple[Count, ...] = ()
    max_queue_delay_ms: Milliseconds = 0.0
    workers: Count = 1

    def __post_init__(self) -> None:
        too_big = [size for size in self.preferred_batch_sizes if size > self.max_batch_size]
        if too_big:
            raise ValueError(f"preferred_batch_sizes {too_big} above max_batch_size {self.max_batch_size}")


class StepConfig(BatchLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of `StepBatcher`.

    `max_queue_size`: waiting items over all slots; one item per slot waits at a time in normal use, so a bound of at
    least the number of slots never turns a live stream away. `max_bulk_wait_ms`: no deadline can push an item further
    into the future than this after it became ready (see `policy.effective_deadline`).
    """

    max_queue_size: Count = 4096
    max_bulk_wait_ms: Milliseconds = 2000.0


class DynamicConfig(BatchLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of `DynamicBatcher`.

    `max_queue_size`: waiting items per priority level. `buckets`: ascending upper bounds of item lengths (inclusive);
    longer items share one more, open bucket. `max_batch_length`: most items times the longest item of a batch, 0 for
    no limit; an item above it runs alone. `default_timeout_ms`: 0 for none. `timeout_action`: "reject" fails the
    item with `QueueTimeout`, "delay" lets it wait on behind all of its level that are in time (and may starve it).
    `priority_levels`: 1 is the highest, served strictly first.
    """

    max_queue_size: Count = 256
    buckets: tuple[Count, ...] = ()
    max_batch_length: Annotated[int, msgspec.Meta(ge=0)] = 0
    default_timeout_ms: Milliseconds = 0.0
    timeout_action: Literal["reject", "delay"] = "reject"
    priority_levels: Count = 1
    default_priority_level: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"buckets must ascend without repeats, got {list(self.buckets)}")
        if self.default_priority_level > self.priority_levels:
            raise ValueError(
                f"default_priority_level {self.default_priority_level} above priority_levels {self.priority_levels}"
            )
