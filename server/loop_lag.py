"""How late the event loop is: the measure of whether something slow runs on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PERIOD_S = 0.1


async def watch_loop_lag(observe: Callable[[float], None]) -> None:
    """Report for ever how many seconds late a timer of `PERIOD_S` fires."""
    while True:
        begin = time.monotonic()
        await asyncio.sleep(PERIOD_S)
        observe(max(0.0, time.monotonic() - begin - PERIOD_S))
