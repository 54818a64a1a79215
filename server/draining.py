"""The end of a server as its callers see it: new calls are refused, running ones may end, then they are told to go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from server.errors import ShuttingDown

HEALTH = "/grpc.health.v1.Health/"


class Draining(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Knows the calls under way. One for a server; on the event loop only."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()
        self._is_draining = False
        self._grace_s: float | None = None  # what running calls have had, once it is over

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Let a call begin, or refuse it while draining; health checks are always answered."""
        if self._is_draining and not details.method.startswith(HEALTH):
            return _REFUSAL
        return await continuation(details)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The call of the current task is under way inside. Raises ShuttingDown when its time is over."""
        task = asyncio.current_task()
        assert task is not None, "calls run in tasks"
        self._tasks.add(task)
        self._all_ended.clear()
        try:
            yield
        except asyncio.CancelledError:
            if self._grace_s is None:
                raise
            raise ShuttingDown(
                f"the server is shutting down, and the call did not end within {self._grace_s:g} s (listen.grace_s)"
            ) from None
        finally:
            self._tasks.discard(task)
            if not self._tasks:
                self._all_ended.set()

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls from now on; return when the running ones have ended, cancelled after `grace_s`."""
        self._is_draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._all_ended.wait()
        except TimeoutError:
            self._grace_s = grace_s
            for task in self._tasks:
                task.cancel()


async def _refuse(messages: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down and takes no new calls")


_REFUSAL = grpc.stream_stream_rpc_method_handler(_refuse)
"""For calls of every kind: the others would first wait for a message."""
