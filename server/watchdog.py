"""A bound on silence: one timer per stream, armed again only when it fires, so that a packet costs no timer."""

from __future__ import annotations

import asyncio
from types import TracebackType


class IdleWatchdog:
    """Bounds the waits of one stream, one at a time: `with watchdog:` around what may take `timeout_s` at most.

    Raises TimeoutError out of the block that took too long; what it awaited is then cancelled. Ends with `close`.
    """

    def __init__(self, timeout_s: float) -> None:
        """Make one inside a running loop."""
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._since = 0.0
        self._is_late = False

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        assert task is not None, "a watchdog waits inside a task"
        self._waiting = task
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self._timeout_s, self._look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, is_late = self._waiting, self._is_late
        self._waiting, self._is_late = None, False
        if is_late and kind is asyncio.CancelledError and task is not None and task.uncancel() == 0:
            raise TimeoutError from None

    def close(self) -> None:
        """Take the timer back; harmless when there is none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """The timer fired: nobody may be waiting, or somebody who began after it was set."""
        self._timer = None
        if self._waiting is None:
            return  # the next wait arms it again
        due = self._since + self._timeout_s
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._look)
            return
        self._is_late = True
        self._waiting.cancel()
