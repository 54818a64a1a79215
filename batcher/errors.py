"""What can go wrong between a caller and a batch; messages carry the numbers (got, allowed)."""


class BatcherError(Exception):
    """Base of every error this package raises on purpose."""


class Overloaded(BatcherError):
    """The queue is full; raised at once, nothing was queued."""

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(f"queue is full: {waiting} items waiting, at most {limit} allowed")
        self.waiting = waiting
        self.limit = limit


class SlotsExhausted(BatcherError):
    """Every slot is leased or still draining."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"no free slot: all {limit} are in use")
        self.limit = limit


class StaleLease(BatcherError):
    """A lease was used after its release."""

    def __init__(self, slot: int, generation: int) -> None:
        super().__init__(f"lease of slot {slot}, generation {generation}, was released")
        self.slot = slot
        self.generation = generation


class QueueTimeout(BatcherError):
    """The item was still waiting when its timeout ran out; it never reached the engine."""

    def __init__(self, waited_ms: float) -> None:
        super().__init__(f"still waiting after {waited_ms:.0f} ms, which is all its timeout allowed")
        self.waited_ms = waited_ms


class BatcherClosed(BatcherError):
    """The batcher was closed, or its loop ended, before the item was run."""

    def __init__(self, reason: str = "batcher is closed") -> None:
        super().__init__(reason)


class BatchFailed(BatcherError):
    """The engine failed on the batch this item was in; the engine's own error is the `__cause__`."""

    def __init__(self, batch_size: int, why: str) -> None:
        super().__init__(f"batch of {batch_size} failed: {why}")
        self.batch_size = batch_size
