"""A connection to a server and unary calls over it with the retry rule: what every client of ours is made on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ClassVar, Self

import grpc

from client.connection import (
    DEFAULT_ADDRESS,
    Deadline,
    Keepalive,
    Metadata,
    Retry,
    Tls,
    channel_options,
    wait_before_retry,
)
from client.errors import CallFailed


class _Settings:
    """The channel of either API, and what calls have in common."""

    _api: ClassVar[Any]
    """grpc or grpc.aio: both make channels by functions of the same names."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        tls: Tls | None = None,
        metadata: Metadata = (),
        timeout_s: float | None = None,
        retry: Retry | None = None,
        keepalive: Keepalive | None = None,
    ) -> None:
        self._metadata = tuple(metadata)
        self._timeout_s = timeout_s
        self._retry = retry or Retry()
        options = channel_options(tls, keepalive)
        if tls:
            self._channel = self._api.secure_channel(address, tls.credentials(), options)
        else:
            self._channel = self._api.insecure_channel(address, options)

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._timeout_s if timeout_s is None else timeout_s)

    def _join(self, metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
        return (*self._metadata, *metadata)


class AsyncConnection(_Settings):
    """A connection to one server, for any number of calls at once; close it, or use it in `async with`.

    `timeout_s` is the default for each call with all its attempts; `metadata` goes with every call. A call
    that ends with UNAVAILABLE is made again by the rule of `retry` while the server has not answered anything.
    Failed calls raise CallFailed. Make it where an event loop runs.
    """

    _api: ClassVar[Any] = grpc.aio

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel the calls that run and close the connection."""
        await self._channel.close(None)

    async def _call(
        self, method: Callable[..., Awaitable[Any]], request: object, timeout_s: float | None, metadata: Metadata
    ) -> Any:
        """Make a unary call, again after UNAVAILABLE: nothing of a unary call is answered before all of it."""
        deadline = self._deadline(timeout_s)
        for delay in self._retry.delays():
            try:
                return await method(request, timeout=deadline.left(), metadata=self._join(metadata))
            except grpc.aio.AioRpcError as error:
                wait_s = wait_before_retry(CallFailed.of(error), delay, deadline, can_repeat=True)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt either returns or raises")


class Connection(_Settings):
    """A connection to one server, for any number of calls and threads at once; close it, or use it in `with`.

    Arguments, retries and errors are those of AsyncConnection.
    """

    _api: ClassVar[Any] = grpc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the calls that run, in other threads too, and close the connection."""
        self._channel.close()

    def _call(self, method: Callable[..., Any], request: object, timeout_s: float | None, metadata: Metadata) -> Any:
        deadline = self._deadline(timeout_s)
        for delay in self._retry.delays():
            try:
                return method(request, timeout=deadline.left(), metadata=self._join(metadata))
            except grpc.RpcError as error:
                wait_s = wait_before_retry(CallFailed.of(error), delay, deadline, can_repeat=True)
            time.sleep(wait_s)
        raise AssertionError("the last attempt either returns or raises")
