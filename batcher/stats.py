"""Plain numbers about a batcher's work. The server's metrics read them; nothing here knows how they are exported."""

from bisect import bisect_left
from collections.abc import Sequence

SECONDS_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Distribution:
    """Observed values counted in fixed ranges: `counts[i]` for value <= `bounds[i]`, the last one for all above."""

    __slots__ = ("bounds", "count", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.count += 1
        self.sum += value

    def cumulative(self) -> list[tuple[float, int]]:
        """Return (bound, values at or below it), ending with infinity, as a Prometheus histogram wants it."""
        total, rows = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows

    def quantile(self, q: float) -> float:
        """Return the upper bound of the range the q-quantile lies in (infinity above the last, 0 when empty)."""
        wanted = q * self.count
        return next((bound for bound, total in self.cumulative() if total >= wanted), 0.0) if self.count else 0.0


class BatcherStats:
    """Counters since the start, written by one batcher on the event loop; reading from any thread is safe.

    Every submitted item ends in exactly one of done, failed, cancelled, timed_out and closed; `rejected` ones were
    never queued. `queue_delay_s` runs from the moment an item could have run to its batch's start, `run_s` from the
    batch's hand-over to the engine's thread to its end.
    """

    __slots__ = (
        "batch_size",
        "batches",
        "batches_failed",
        "cancelled",
        "closed",
        "done",
        "failed",
        "queue_delay_s",
        "rejected",
        "run_s",
        "submitted",
        "timed_out",
    )

    def __init__(self) -> None:
        self.submitted = 0
        self.rejected = 0
        self.done = 0
        self.failed = 0
        self.cancelled = 0
        self.timed_out = 0
        self.closed = 0
        self.batches = 0
        self.batches_failed = 0
        self.batch_size = Distribution(SIZE_BOUNDS)
        self.queue_delay_s = Distribution(SECONDS_BOUNDS)
        self.run_s = Distribution(SECONDS_BOUNDS)
