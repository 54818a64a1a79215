"""The second pass over a segment, begun in the pause that may turn out to be its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from batcher.errors import BatcherError
from engines.rescoring import RescoreItem
from speech.endpoint import EndpointConfig
from speech.recognition import SegmentEnd
from speech.search.nbest import Nbest

MIN_SILENCE_MS = 300
"""In shorter pauses most sentences go on: what was begun there would be lost."""
_NOTHING = -1, b""


def silence_before_endpoint(endpoint: EndpointConfig, chunk_ms: int) -> int | None:
    """How much silence after text the chunk before an endpoint has at least; None where no silence ends a segment."""
    rule = endpoint.rule2
    if not endpoint.enabled or rule is None:
        return None
    return max(MIN_SILENCE_MS, rule.min_trailing_silence_ms - chunk_ms)


class ReadAhead:
    """One stream's reading of a segment that has not ended yet; used by the call's task only.

    What was read stands for the whole segment as long as the first pass's best hypothesis stays: nothing was heard
    since. Whether it is begun and whether it stands follows from the audio, not from how busy the server is.
    """

    def __init__(self, read: Callable[[RescoreItem], Awaitable[Nbest]]) -> None:
        """`read` raises a BatcherError where its turn does not come in time."""
        self._read = read
        self._said = _NOTHING
        self._task: asyncio.Task[Nbest | None] | None = None

    def begin(self, segment: SegmentEnd, item: RescoreItem) -> None:
        """Begin to read a segment as far as it goes, unless that has begun for the same best hypothesis."""
        said = _said(segment)
        if said == self._said:
            return
        self.forget()
        self._said = said
        self._task = asyncio.create_task(self._try(item))

    async def result(self, segment: SegmentEnd) -> Nbest | None:
        """Return what was read of a segment that has ended, or None, and start anew."""
        task = self._task if self._said == _said(segment) else None
        try:
            return None if task is None else await task
        finally:
            self.forget()

    def forget(self) -> None:
        """Start anew. What waits for its turn loses it."""
        if self._task is not None:
            self._task.cancel()
        self._said, self._task = _NOTHING, None

    async def _try(self, item: RescoreItem) -> Nbest | None:
        try:
            return await self._read(item)
        except BatcherError:
            return None  # the segment's end will try again, and tell


def _said(segment: SegmentEnd) -> tuple[int, bytes]:
    """Where in the stream a segment begins, and its best hypothesis."""
    return segment.start_frame, segment.nbest.tokens[0].tobytes()
