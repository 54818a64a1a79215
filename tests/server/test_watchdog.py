"""The bound on silence ends a wait, and nothing else."""

import asyncio

import pytest

from server.watchdog import IdleWatchdog


@pytest.mark.asyncio
async def test_a_message_in_time_is_returned() -> None:
    async def message() -> str:
        return "audio"

    assert await IdleWatchdog(5).wait(message()) == "audio"


@pytest.mark.asyncio
async def test_silence_returns_none_and_the_task_lives_on() -> None:
    assert await IdleWatchdog(0.01).wait(asyncio.Event().wait()) is None
    await asyncio.sleep(0)  # a cancellation left behind would surface here


@pytest.mark.asyncio
async def test_a_real_cancellation_passes_through() -> None:
    task = asyncio.create_task(IdleWatchdog(60).wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
