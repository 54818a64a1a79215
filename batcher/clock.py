"""The batchers' only source of time, passed in so that tests can move it by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that was asked for and can be taken back."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Seconds that only grow, and calls at a moment of them."""

    def now(self) -> float:
        """Return the time in seconds; callable from any thread."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back on the event loop at `when`, or a clock tick earlier."""


class MonotonicClock:
    """`time.monotonic` and the running loop's timers; deadlines given to a batcher are on this clock."""

    def now(self) -> float:
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        # A relative call, because a loop's own clock need not be time.monotonic (uvloop caches milliseconds).
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), callback)
