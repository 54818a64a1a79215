"""The bound on silence ends a wait, and nothing else."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar
from unittest.mock import Mock

import pytest

from server.watchdog import IdleWatchdog

T = TypeVar("T")


# uvloop's timers follow the system's clock, which no test can set.
ON_ASYNCIO = pytest.mark.asyncio(loop_factories=["asyncio"])
ON_BOTH = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


class HandClock:
    """Sets the running loop's clock ahead by hand; timers that are due then fire in its next turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self.ahead)


async def wait(watchdog: IdleWatchdog, awaitable: Awaitable[T]) -> T:
    with watchdog:
        return await awaitable


async def message() -> str:
    return "audio"


@ON_BOTH
async def test_a_message_in_time_is_returned() -> None:
    watchdog = IdleWatchdog(5)
    assert await wait(watchdog, message()) == "audio"
    watchdog.close()


@ON_BOTH
async def test_silence_times_out_and_the_task_lives_on() -> None:
    watchdog = IdleWatchdog(0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await wait(watchdog, asyncio.Event().wait())
    await asyncio.sleep(0)  # a cancellation left behind would surface here
    assert await wait(watchdog, message()) == "audio"
    watchdog.close()


@ON_ASYNCIO
async def test_a_wait_has_its_whole_time_whatever_the_timer_was_armed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watchdog, spoken = HandClock(monkeypatch), IdleWatchdog(100), asyncio.Event()
    await wait(watchdog, message())  # arms the timer for 100 s
    clock.ahead = 60
    waiting = asyncio.create_task(wait(watchdog, spoken.wait()))
    await asyncio.sleep(0)
    clock.ahead = 120  # the timer fires, but this wait has lasted 60 s only
    for _ in range(3):
        await asyncio.sleep(0)
    spoken.set()
    assert await waiting
    watchdog.close()


@ON_ASYNCIO
async def test_a_wait_ends_when_its_own_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watchdog = HandClock(monkeypatch), IdleWatchdog(100)
    await wait(watchdog, message())
    clock.ahead = 60
    waiting = asyncio.create_task(wait(watchdog, asyncio.Event().wait()))
    await asyncio.sleep(0)
    for clock.ahead in (120, 170):
        for _ in range(3):
            await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await waiting
    watchdog.close()


@ON_BOTH
async def test_waits_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    arm = Mock(wraps=loop.call_at)
    monkeypatch.setattr(loop, "call_at", arm)
    watchdog = IdleWatchdog(5)
    for _ in range(100):
        await wait(watchdog, message())
    assert arm.call_count == 1
    watchdog.close()


@ON_BOTH
async def test_a_real_cancellation_passes_through() -> None:
    watchdog = IdleWatchdog(60)
    task = asyncio.create_task(wait(watchdog, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    watchdog.close()
