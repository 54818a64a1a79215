"""The bound on silence ends a wait, and nothing else."""

import asyncio
from unittest.mock import Mock

import pytest

from server.watchdog import IdleWatchdog


async def message() -> str:
    return "audio"


@pytest.mark.asyncio
async def test_a_message_in_time_is_returned() -> None:
    watchdog = IdleWatchdog(5)
    assert await watchdog.wait(message()) == "audio"
    watchdog.close()


@pytest.mark.asyncio
async def test_silence_times_out_and_the_task_lives_on() -> None:
    watchdog = IdleWatchdog(0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await watchdog.wait(asyncio.Event().wait())
    await asyncio.sleep(0)  # a cancellation left behind would surface here
    assert await watchdog.wait(message()) == "audio"
    watchdog.close()


@pytest.mark.asyncio
async def test_a_wait_has_its_whole_time_whatever_the_timer_was_armed_for() -> None:
    watchdog = IdleWatchdog(0.05)
    await watchdog.wait(message())  # arms the timer, which fires during the next wait
    await asyncio.sleep(0.03)
    assert await watchdog.wait(asyncio.sleep(0.03, "audio")) == "audio"
    watchdog.close()


@pytest.mark.asyncio
async def test_waits_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    arm = Mock(wraps=loop.call_at)
    monkeypatch.setattr(loop, "call_at", arm)
    watchdog = IdleWatchdog(5)
    for _ in range(100):
        await watchdog.wait(message())
    assert arm.call_count == 1
    watchdog.close()


@pytest.mark.asyncio
async def test_a_real_cancellation_passes_through() -> None:
    watchdog = IdleWatchdog(60)
    task = asyncio.create_task(watchdog.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    watchdog.close()
