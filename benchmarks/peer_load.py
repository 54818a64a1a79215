"""The same load for servers of different protocols: streams paced as microphones, busy until the end of a run.

A stream sends a recording in packets, each when its last sample has been spoken, ends it, waits until the server says
that this was all, and begins another one at once. Latency is counted from when the last sample was due, so a server
that slows its senders down gains nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import numpy as np

from client.load import RATE
from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc

PACKET_BYTES = RATE * 2 // 10  # 100 ms
LIMIT_S = 5.0
"""What a stream waits for its end; then it is broken off and counted as that late."""


class Sender(Protocol):
    """One stream of one recording."""

    async def send(self, packet: bytes) -> None:
        """Send LINEAR16 samples at 16 kHz."""

    async def finish(self) -> str:
        """End the audio; return the text when the server has said everything."""


Open = Callable[[], AbstractAsyncContextManager[Sender]]


@dataclass(slots=True)
class Seen:
    """Milliseconds from the last sample to the end of each stream, audio sent, streams that failed, letters said."""

    final_ms: list[float] = field(default_factory=list)
    audio_s: float = 0.0
    failures: int = 0
    letters: int = 0

    def percentile(self, share: float) -> float:
        """Of `final_ms`; infinite where there is none."""
        return float(np.percentile(self.final_ms, share)) if self.final_ms else float("inf")


async def run(open_stream: Open, streams: int, seconds: float, recordings: Sequence[bytes]) -> Seen:
    """Keep `streams` streams busy for `seconds`, then break them off.

    All begin at once, with the rest of a recording of which the n-th has heard another part already, so that their ends
    are spread evenly. What is due and has not come when the run ends counts as late as it is then.
    """
    seen, end = Seen(), time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(_caller(open_stream, end, recordings, number, (number + 1) / streams, seen))
    return seen


async def _caller(
    open_stream: Open, end: float, recordings: Sequence[bytes], number: int, share: float, seen: Seen
) -> None:
    """One stream after the other until `end`; of the first recording only the last `share` is left."""
    audio = recordings[number % len(recordings)]
    audio = audio[-max(1, round(share * len(audio) / PACKET_BYTES)) * PACKET_BYTES :]
    while time.monotonic() < end:
        due = time.monotonic() + len(audio) / (2 * RATE)
        try:
            async with asyncio.timeout(min(due + LIMIT_S, end) - time.monotonic()):
                async with open_stream() as stream:
                    seen.letters += len(await _say(stream, audio, due, seen))
                    seen.final_ms.append((time.monotonic() - due) * 1000)
        except TimeoutError:
            if due < time.monotonic():
                seen.final_ms.append((time.monotonic() - due) * 1000)
            seen.failures += due + LIMIT_S < time.monotonic()
        except (OSError, grpc.aio.AioRpcError):
            seen.final_ms.append(LIMIT_S * 1000)
            seen.failures += 1
            await asyncio.sleep(0.5)  # a server that refuses is not to be flooded
        number += 1
        audio = recordings[number % len(recordings)]


async def _say(stream: Sender, audio: bytes, due: float, seen: Seen) -> str:
    """Send a recording whose last sample is due at `due`."""
    for begin in range(0, len(audio), PACKET_BYTES):
        packet = audio[begin : begin + PACKET_BYTES]
        spoken = due - (len(audio) - begin - len(packet)) / (2 * RATE)
        await asyncio.sleep(max(0.0, spoken - time.monotonic()))
        await stream.send(packet)
        seen.audio_s += len(packet) / (2 * RATE)
    return await stream.finish()


class _Chorus:
    def __init__(self, call: Any) -> None:
        self._call = call
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> str:
        text = ""
        async for response in self._call:
            text += "".join(each.alternatives[0].transcript for each in response.results if each.is_final)
        return text

    async def send(self, packet: bytes) -> None:
        await self._call.write(pb.StreamingRecognizeRequest(audio_content=packet))

    async def finish(self) -> str:
        await self._call.done_writing()
        return await self._reading

    async def close(self) -> None:
        self._call.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


def chorus(channel: grpc.aio.Channel, method: str) -> Open:
    """Return how to open streams of a Chorus server; partial results are asked for, as the peer sends them always."""
    stub: Any = rpc.RecognizerStub(channel)  # type: ignore[no-untyped-call]
    config = pb.RecognitionConfig(
        encoding=pb.LINEAR16, sample_rate_hertz=RATE, decoding=pb.DecodingConfig(method=method.upper())
    )
    first = pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(config=config, interim_results=True)
    )

    @asynccontextmanager
    async def opened() -> Any:
        stream = _Chorus(stub.StreamingRecognize())
        try:
            await stream._call.write(first)
            yield stream
        finally:
            await stream.close()

    return opened


class _WebSocket:
    """Sherpa-onnx's protocol: float32 messages, `Done`; JSON comes back, at last `Done!`."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> str:
        """Return the text of all segments; a segment's messages are about all of it so far."""
        segments: dict[int, str] = {}
        async for message in self._socket:
            if message == "Done!":
                break
            said = json.loads(message)
            segments[said["segment"]] = said["text"]
        return " ".join(segments.values())

    async def send(self, packet: bytes) -> None:
        await self._socket.send((np.frombuffer(packet, "<i2").astype(np.float32) / 32768).tobytes())

    async def finish(self) -> str:
        await self._socket.send("Done")
        return await self._reading

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


def websocket(port: int) -> Open:
    """Return how to open streams of sherpa-onnx-online-websocket-server."""
    import websockets

    @asynccontextmanager
    async def opened() -> Any:
        async with websockets.connect(f"ws://127.0.0.1:{port}", compression=None, close_timeout=1) as socket:
            stream = _WebSocket(socket)
            try:
                yield stream
            finally:
                await stream.close()

    return opened
