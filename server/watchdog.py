"""A bound on silence: one timer per stream, re-armed only when it fires, so that a packet costs no timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any


class IdleWatchdog:
    """Waits for the messages of one stream, each for at most `timeout_s`. Owned by the call's task."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._is_idle = False
        self._since = 0.0

    async def wait(self, message: Awaitable[Any]) -> Any:
        """Return what `message` gives, or None when it did not come in time; the wait is then cancelled."""
        task = asyncio.current_task()
        assert task is not None, "a watchdog waits inside a task"
        self._since = time.monotonic()
        timer = asyncio.get_running_loop().call_later(self._timeout_s, self._expire, task)
        try:
            return await message
        except asyncio.CancelledError:
            if self._is_idle and task.uncancel() == 0:
                return None
            raise
        finally:
            timer.cancel()

    def _expire(self, task: asyncio.Task[Any]) -> None:
        self._is_idle = True
        task.cancel()
