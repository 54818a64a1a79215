"""What one stream cost: plain numbers for its log line."""

from __future__ import annotations

MAX_KEPT = 512  # latencies kept for the percentiles; beyond it the newest overwrite the oldest


class StreamStats:
    """Counts chunks and keeps the newest step latencies of one stream."""

    __slots__ = ("_latencies", "audio_s", "chunks")

    def __init__(self) -> None:
        self.chunks = 0
        self.audio_s = 0.0
        self._latencies: list[float] = []

    def add_chunk(self, seconds: float) -> None:
        """Count one chunk that took `seconds` from submission to result."""
        if len(self._latencies) < MAX_KEPT:
            self._latencies.append(seconds)
        else:
            self._latencies[self.chunks % MAX_KEPT] = seconds
        self.chunks += 1

    def latency_ms(self, quantile: float) -> float:
        """The `quantile` of the kept step latencies in milliseconds, 0 without chunks."""
        if not self._latencies:
            return 0.0
        ordered = sorted(self._latencies)
        return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)] * 1000
