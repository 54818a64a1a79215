"""The beginning and the end of a server as its callers see them: new calls are refused, running ones told to go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc

from server.errors import ShuttingDown

HEALTH = "/grpc.health.v1.Health/"
LOADING = "the server is loading its models; its health check says SERVING when it is ready"
DRAINING = "the server is shutting down and takes no new calls"


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Knows whether calls may begin, and those under way. One for a server; closed at first; on the event loop only."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()
        self._refusal: grpc.RpcMethodHandler[Any, Any] | None = _refusal(LOADING)
        self._grace_s: float | None = None  # what running calls have had, once it is over

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Let a call begin, or refuse it while loading or draining; health checks are always answered."""
        if self._refusal is not None and not details.method.startswith(HEALTH):
            return self._refusal
        return await continuation(details)

    def open(self) -> None:
        """Let calls begin."""
        self._refusal = None

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
        self._refusal = _refusal(DRAINING)
        try:
            async with asyncio.timeout(grace_s):
                await self._all_ended.wait()
        except TimeoutError:
            self._grace_s = grace_s
            for task in self._tasks:
                task.cancel()


class LateHandlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Takes services as a server does, also after the start: gRPC wants handlers before, and models load after."""

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler[Any, Any]] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler[Any, Any]]) -> None:
        """Take a service; called by the generated `add_..._to_server`."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take nothing: the same methods again, for a server that looks them up faster. asyncio's has no use for it."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a method; None where no service that is here has one."""
        return next(filter(None, (each.service(details) for each in self._handlers)), None)


def _refusal(text: str) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler for calls of every kind that says `text`: those for single requests would first wait for a message."""

    async def refuse(messages: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, text)

    return grpc.stream_stream_rpc_method_handler(refuse)
