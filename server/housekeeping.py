"""What runs beside the calls: measuring the event loop's lag, and proving that no slot was lost while nobody speaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from server.models import ServedModel

LAG_PERIOD_S = 0.5
INTEGRITY_PERIOD_S = 10.0

log = structlog.get_logger()


async def watch_loop_lag(observe: Callable[[float], None]) -> None:
    """Report for ever how many seconds late a timer of `LAG_PERIOD_S` fires: the loop's lag."""
    while True:
        begin = time.monotonic()
        await asyncio.sleep(LAG_PERIOD_S)
        observe(max(0.0, time.monotonic() - begin - LAG_PERIOD_S))


async def watch_integrity(models: Iterable[ServedModel], period_s: float = INTEGRITY_PERIOD_S) -> None:
    """Check for ever, while a model has no stream, that no slot was lost; log what is wrong."""
    while True:
        await asyncio.sleep(period_s)
        for model in models:
            if model.lanes.num_leased == 0:
                check_integrity(model)


def check_integrity(model: ServedModel) -> bool:
    """Check one model's slots, and log an error instead of raising it."""
    try:
        model.lanes.check_integrity()
    except AssertionError as error:
        log.error("slots are inconsistent: this is a bug of Chorus", model=model.name, error=str(error))
        return False
    return True
