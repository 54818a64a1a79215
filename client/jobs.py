"""The work of `chorus transcribe` without its command line: many recordings through one client, in order."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from client.client import AsyncClient
from client.config import Config
from client.errors import CallFailed
from client.lists import Recording
from client.packets import Packet, read_packets
from client.results import StreamResult, Transcript, Update, transcript
from client.sources import STDIN, PcmFile, paced, stdin_packets
from speech.errors import SpeechError

Item = TypeVar("Item")
Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a recording has no transcript: a gRPC status name, or one of its kind for what failed on this side."""

    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording."""

    recording: Recording
    transcript: Transcript
    problem: Problem | None = None


class Watcher(Protocol):
    """Is told how the recordings come along."""

    def sent(self, recording: Recording, share: float) -> None:
        """`share` in [0, 1] of the recording is sent."""

    def heard(self, recording: Recording, result: StreamResult) -> None:
        """A partial or final result came."""

    def finished(self, outcome: Outcome) -> None:
        """The recording is done; called in the order of the list."""


@dataclass(frozen=True, slots=True)
class Job:
    """How each recording is to be recognised."""

    config: Config
    offline: bool = False
    real_time: bool = False


async def run_in_order(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Output]],
    emit: Callable[[Output], None],
    concurrency: int,
) -> None:
    """Do `work` on `concurrency` items at once and `emit` the outputs in the items' order, as early as can be."""
    waiting: dict[int, Output] = {}
    todo = iter(enumerate(items))
    num_emitted = 0

    async def worker() -> None:
        nonlocal num_emitted
        for index, item in todo:
            waiting[index] = await work(item)
            while num_emitted in waiting:
                emit(waiting.pop(num_emitted))
                num_emitted += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(items))):
            group.create_task(worker())


async def recognise(client: AsyncClient, job: Job, recording: Recording, watcher: Watcher) -> Outcome:
    """Recognise one recording; whatever is wrong with it becomes the outcome's problem."""
    updates: list[Update] = []
    try:
        if job.offline:
            whole = await client.recognize(await asyncio.to_thread(_read, recording.path), job.config)
            return Outcome(recording, whole)
        async with aclosing(_stream(client, job, recording, watcher)) as stream:
            async for update in stream:
                updates.append(update)
                if isinstance(update, StreamResult):
                    watcher.heard(recording, update)
    except (CallFailed, OSError, SpeechError) as error:
        return Outcome(recording, transcript(updates), problem_of(error, recording))
    return Outcome(recording, transcript(updates))


def problem_of(error: Exception, recording: Recording) -> Problem:
    """Name what went wrong in gRPC's terms, also where no call was made."""
    match error:
        case CallFailed():
            return Problem(error.code.name, error.message)
        case FileNotFoundError():
            return Problem("NOT_FOUND", f"no such file: {recording.path}")
        case PermissionError():
            return Problem("PERMISSION_DENIED", f"may not be read: {recording.path}")
        case OSError():
            return Problem("FAILED_PRECONDITION", f"{recording.path}: {error.strerror or error}")
        case _:
            return Problem("INVALID_ARGUMENT", f"{recording.path}: {error}")


async def _stream(
    client: AsyncClient, job: Job, recording: Recording, watcher: Watcher
) -> AsyncGenerator[Update, None]:
    with ExitStack() as stack:
        if job.real_time:
            pcm = stack.enter_context(await asyncio.to_thread(PcmFile, recording.path))
            config = replace(job.config, encoding="linear16", sample_rate=pcm.sample_rate, channels=pcm.channels)
            audio: Iterator[Packet] = paced(iter(pcm), pcm.bytes_per_second)
        else:
            config = job.config
            audio = stdin_packets() if recording.path == STDIN else _counted(recording, watcher)
        async with aclosing(client.stream(audio, config)) as updates:
            async for update in updates:
                yield update


def _counted(recording: Recording, watcher: Watcher) -> Iterator[bytes]:
    """Read a file and tell how far it is read: gRPC's flow control keeps that close to what the server has used."""
    total = max(1, Path(recording.path).stat().st_size)
    sent = 0
    for packet in read_packets(recording.path):
        yield packet
        sent += len(packet)
        watcher.sent(recording, min(1.0, sent / total))


def _read(path: str) -> bytes:
    return b"".join(stdin_packets()) if path == STDIN else Path(path).read_bytes()
