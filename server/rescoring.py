"""How finished segments share calls of the attention decoder, and how long one waits for its turn."""

from __future__ import annotations

from batcher.config import DynamicConfig
from batcher.dynamic import DynamicBatcher
from batcher.errors import QueueTimeout
from engines.rescoring import RescoreItem
from server.config import RescoringConfig
from speech.search.nbest import Nbest

BUCKETS = (64, 256, 1024)  # tokens: a short segment does not wait for a minute-long one's padding


def rescoring_limits(config: RescoringConfig, workers: int, batch_limit: int) -> DynamicConfig:
    """Batches of segments, whose lengths are tokens (`RescoreItem.num_tokens`), of what the engine takes at once."""
    return DynamicConfig(
        max_batch_size=min(config.max_batch_size, batch_limit),
        max_batch_length=config.max_batch_tokens,
        max_queue_delay_ms=config.max_queue_delay_ms,
        max_queue_size=config.max_queue_size,
        default_timeout_ms=config.max_wait_ms,
        buckets=BUCKETS,
        workers=workers,
    )


async def rescored_in_time(batcher: DynamicBatcher[RescoreItem, Nbest], item: RescoreItem) -> Nbest:
    """Return the segment's n-best list rescored, or as it is where its turn did not come in `max_wait_ms`."""
    try:
        return await rescored(batcher, item)
    except QueueTimeout:
        return item.nbest


async def rescored(batcher: DynamicBatcher[RescoreItem, Nbest], item: RescoreItem) -> Nbest:
    """Return the segment's n-best list rescored. Raises what `DynamicBatcher.submit` does."""
    return await batcher.submit(item, length=item.num_tokens)
