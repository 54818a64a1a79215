"""From whatever a caller passes as audio to packets, and the memory that lets a call begin again.

A call may be made again only while the server has taken nothing of it. Nothing tells a client when that is, except
an answer; so until the first answer every packet sent is kept, up to `REPLAY_BYTES`, and can be sent once more. After
that a failure is final: a second recognition of audio the server may have worked on is the caller's decision.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path
from typing import TypeAlias

from client.config import Config
from client.errors import ClientError

# What a stream is made of: audio bytes, and settings that change on the way.
Packet: TypeAlias = bytes | Config
Audio: TypeAlias = bytes | str | Path | Iterable[Packet]
AsyncAudio: TypeAlias = Audio | AsyncIterable[Packet]

PACKET_BYTES = 32 * 1024
# Well below gRPC's 4 MB limit on received messages, which a server may have left as it is.
LARGEST_MESSAGE = 1024 * 1024
# Eight seconds of 16 kHz LINEAR16: many round trips.
REPLAY_BYTES = 256 * 1024


def read_packets(path: str | Path, packet_bytes: int = PACKET_BYTES) -> Iterator[bytes]:
    """Read a file as it is, header included. Raises OSError."""
    with Path(path).open("rb") as file:
        while packet := file.read(packet_bytes):
            yield packet


def packets(audio: Audio) -> Iterator[Packet]:
    """Cut `audio` (bytes, a path, or packets of any size) into packets that fit in a message."""
    if isinstance(audio, str | Path):
        yield from read_packets(audio)
        return
    if isinstance(audio, bytes | bytearray | memoryview):
        yield from _cut(bytes(audio))
        return
    for packet in audio:
        yield from _cut(packet)


async def async_packets(audio: AsyncAudio) -> AsyncGenerator[Packet, None]:
    """Cut `audio` into packets; whatever may block (files, sync iterators) is read on a thread of its own."""
    if isinstance(audio, AsyncIterable):
        # A generator ends with the stream that reads it, and not when it happens to be collected.
        async with aclosing(audio) if isinstance(audio, AsyncGenerator) else nullcontext():
            async for packet in audio:
                for piece in _cut(packet):
                    yield piece
    elif isinstance(audio, bytes | bytearray | memoryview | list | tuple):
        for piece in packets(audio):
            yield piece
    else:
        async with aclosing(from_thread(packets(audio))) as pieces:
            async for piece in pieces:
                yield piece


def _cut(packet: Packet) -> Iterator[Packet]:
    if isinstance(packet, Config):
        yield packet
    elif isinstance(packet, bytes | bytearray | memoryview):
        for start in range(0, len(packet), LARGEST_MESSAGE):
            yield bytes(packet[start : start + LARGEST_MESSAGE])
    else:
        raise ClientError(f"audio packets are bytes, or Config for new settings: got {type(packet).__name__}")


async def from_thread(source: Iterator[Packet], ahead: int = 2) -> AsyncGenerator[Packet, None]:
    """Iterate `source` on a daemon thread, at most `ahead` packets ahead.

    A daemon, not the executor: a thread that waits for standard input must not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Packet | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(ahead)
    stopped = threading.Event()

    def put(item: Packet | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def pump() -> None:
        try:
            for packet in source:
                room.acquire()
                if stopped.is_set():
                    return
                put(packet)
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=pump, name="chorus-audio-source", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item
    finally:
        stopped.set()
        room.release()


class _Memory:
    """The packets of a stream sent so far, as long as the stream may begin again."""

    def __init__(self) -> None:
        self.kept: list[Packet] = []
        self.can_repeat = True
        self._bytes = 0

    def keep(self, packet: Packet) -> None:
        if self.can_repeat:
            self.kept.append(packet)
            self._bytes += len(packet) if isinstance(packet, bytes) else 0
            if self._bytes > REPLAY_BYTES:
                self.accepted()

    def accepted(self) -> None:
        """The server has taken the stream (or too much is sent to keep it): from here there is no way back.

        What is kept stays: the attempt under way may still be sending it.
        """
        self.can_repeat = False


class Replay(_Memory):
    """Packets of a sync source, for one attempt after the other.

    gRPC reads each attempt on a thread that may outlive it, still waiting in `next(source)`: hence the lock, and what
    such a thread gets goes to the latest attempt.
    """

    def __init__(self, source: Iterator[Packet]) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._source = source
        self._lock = threading.Lock()
        self._latest = 0
        self._orphans: deque[Packet] = deque()

    def attempt(self) -> Iterator[Packet]:
        """Give all packets from the first one on, and leave every earlier attempt without any."""
        self._latest += 1
        return self._packets(self._latest)

    def _packets(self, attempt: int) -> Iterator[Packet]:
        index = 0
        while (packet := self._get(index, attempt)) is not None:
            index += 1
            yield packet

    def _get(self, index: int, attempt: int) -> Packet | None:
        with self._lock:
            if attempt != self._latest:
                return None
            if index < len(self.kept):
                return self.kept[index]
            packet = self._orphans.popleft() if self._orphans else next(self._source, None)
            if packet is None:
                return None
            if attempt != self._latest and not self.can_repeat:
                self._orphans.append(packet)
            else:
                self.keep(packet)
            return packet


class AsyncReplay(_Memory):
    """Packets of an async source, for one attempt after the other; attempts never overlap.

    A cancelled attempt leaves its wait for the next packet to its successor, because cancelling that wait would end
    an async generator for good.
    """

    def __init__(self, source: AsyncGenerator[Packet, None]) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._source = source
        self._waiting: asyncio.Task[Packet | None] | None = None
        self._ended = False

    async def attempt(self) -> AsyncGenerator[Packet, None]:
        """Give all packets from the first one on."""
        for packet in tuple(self.kept):
            yield packet
        while not self._ended:
            if self._waiting is None:
                self._waiting = asyncio.create_task(self._next(), name="chorus-next-packet")
            read = await asyncio.shield(self._waiting)
            self._waiting = None
            if read is None:
                self._ended = True
            else:
                self.keep(read)
                yield read

    async def aclose(self) -> None:
        """End the source, also while it waits."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait([self._waiting])
        await self._source.aclose()

    async def _next(self) -> Packet | None:
        return await anext(self._source, None)
