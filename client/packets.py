"""From whatever a caller passes as audio to the messages that carry it, and the memory that lets a call begin again.

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

from client.config import Config, streaming_request
from client.errors import ClientError
from protos.recognizer_pb2 import StreamingRecognizeRequest as Request

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


def requests(audio: Audio) -> Iterator[Request]:
    """Make the messages for `audio`: bytes, a path, or packets of any size and Configs. Raises what `audio` raises."""
    if isinstance(audio, str | Path):
        audio = read_packets(audio)
    if isinstance(audio, bytes | bytearray | memoryview):
        yield from _requests_of(bytes(audio))
        return
    for packet in audio:
        yield from _requests_of(packet)


async def async_requests(audio: AsyncAudio) -> AsyncGenerator[Request, None]:
    """Make the messages for `audio`; whatever may block (files, sync iterators) is read on a thread of its own."""
    if isinstance(audio, AsyncIterable):
        # A generator ends with the stream that reads it, and not when it happens to be collected.
        async with aclosing(audio) if isinstance(audio, AsyncGenerator) else nullcontext():
            async for packet in audio:
                for request in _requests_of(packet):
                    yield request
    elif isinstance(audio, bytes | bytearray | memoryview | list | tuple):
        for request in requests(audio):
            yield request
    else:
        async with aclosing(from_thread(requests(audio))) as read:
            async for request in read:
                yield request


def _requests_of(packet: Packet) -> Iterator[Request]:
    if isinstance(packet, Config):
        yield streaming_request(packet)
    elif isinstance(packet, bytes | bytearray | memoryview):
        for start in range(0, len(packet), LARGEST_MESSAGE):
            yield Request(audio_content=bytes(packet[start : start + LARGEST_MESSAGE]))
    else:
        raise ClientError(f"audio packets are bytes, or Config for new settings: got {type(packet).__name__}")


async def from_thread(source: Iterator[Request], ahead: int = 2) -> AsyncGenerator[Request, None]:
    """Iterate `source` on a daemon thread, at most `ahead` messages ahead.

    A daemon, not the executor: a thread that waits for standard input must not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Request | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(ahead)
    stopped = threading.Event()

    def put(item: Request | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def pump() -> None:
        try:
            for message in source:
                room.acquire()
                if stopped.is_set():
                    return
                put(message)
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
    """The messages of a stream sent so far, as long as the stream may begin again."""

    def __init__(self) -> None:
        self.kept: list[Request] = []
        self.can_repeat = True
        self._bytes = 0

    def keep(self, message: Request) -> None:
        if self.can_repeat:
            self.kept.append(message)
            self._bytes += message.ByteSize()
            if self._bytes > REPLAY_BYTES:
                self.accepted()

    def accepted(self) -> None:
        """The server has taken the stream (or too much is sent to keep it): from here there is no way back.

        What is kept stays: the attempt under way may still be sending it.
        """
        self.can_repeat = False


class Replay(_Memory):
    """Requests of a sync source, for one attempt after the other.

    gRPC reads each attempt on a thread that may outlive it, still waiting in `next(source)`: hence the lock, and what
    such a thread gets goes to the latest attempt.
    """

    def __init__(self, source: Iterator[Request]) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._source = source
        self._lock = threading.Lock()
        self._latest = 0
        self._orphans: deque[Request] = deque()

    def attempt(self) -> Iterator[Request]:
        """Give all messages from the first one on, and leave every earlier attempt without any."""
        self._latest += 1
        return self._messages(self._latest)

    def _messages(self, attempt: int) -> Iterator[Request]:
        index = 0
        while (message := self._get(index, attempt)) is not None:
            index += 1
            yield message

    def _get(self, index: int, attempt: int) -> Request | None:
        with self._lock:
            if attempt != self._latest:
                return None
            if index < len(self.kept):
                return self.kept[index]
            message = self._orphans.popleft() if self._orphans else self._next()
            if message is None:
                return None
            if attempt != self._latest and not self.can_repeat:
                self._orphans.append(message)
            else:
                self.keep(message)
            return message

    def _next(self) -> Request | None:
        try:
            return next(self._source, None)
        except Exception as error:
            self.failure = error
            return None


class AsyncReplay(_Memory):
    """Requests of an async source, for one attempt after the other; attempts never overlap.

    A cancelled attempt leaves its wait for the next message to its successor, because cancelling that wait would end
    an async generator for good.
    """

    def __init__(self, source: AsyncGenerator[Request, None]) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._source = source
        self._waiting: asyncio.Task[Request | None] | None = None
        self._ended = False

    async def attempt(self) -> AsyncGenerator[Request, None]:
        """Give all messages from the first one on."""
        for message in tuple(self.kept):
            yield message
        while not self._ended:
            if self._waiting is None:
                self._waiting = asyncio.create_task(self._next(), name="chorus-next-message")
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

    async def _next(self) -> Request | None:
        try:
            return await anext(self._source, None)
        except Exception as error:
            self.failure = error
            return None
