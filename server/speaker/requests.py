"""The messages of a call that streams audio to the Speaker service: first the settings, then the bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from server.errors import IdleStream, OutOfOrder

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


class AudioRequests:
    """Reads one call, EmbedStream or DiarizeStream; owned by it."""

    def __init__(self, context: Any, idle_timeout_s: float) -> None:
        self._context = context
        self._idle_timeout_s = idle_timeout_s

    async def config(self) -> Any:
        """The first message's `config`. Raises OutOfOrder, IdleStream."""
        request = await self._read()
        if request is END:
            raise OutOfOrder("the call ended without a config message")
        if request.WhichOneof("streaming_request") != "config":
            raise OutOfOrder("the first message must carry config, not audio_content")
        return request.config

    async def audio(self) -> bytes | None:
        """The next packet, None at the end. Raises OutOfOrder, IdleStream."""
        request = await self._read()
        if request is END:
            return None
        if request.WhichOneof("streaming_request") != "audio_content":
            raise OutOfOrder("a message after the first carries no audio_content")
        data: bytes = request.audio_content
        return data

    async def _read(self) -> Any:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await self._context.read()
        except TimeoutError:
            raise IdleStream(f"no message for {self._idle_timeout_s:g} s (streaming.idle_timeout_s)") from None
