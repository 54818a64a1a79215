"""From audio to one vector: whole, or while it comes. The event loop moves bytes; threads do the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from server.decoding import decode_whole
from server.speaker.batching import PieceVector
from server.speaker.front import VoiceFront
from server.speaker.models import ServedSpeaker
from server.speaker.options import AudioOptions, EmbedOptions, VoiceAudio
from speech.audio import Samples
from speech.verification.pieces import weighted_mean
from speech.verification.quality import Quality
from speech.verification.vectors import Vectors, unit

HOP_S = 1.0  # streamed audio goes to a thread in portions of this length
MAX_IN_FLIGHT = 4  # pieces of one voice with the batcher: long audio takes its turns with other calls

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """One voice's vector, (dimension,) float32, and what it was made of."""

    vector: Vectors
    audio_s: float
    speech_s: float
    quality: Quality
    num_windows: int
    filled_share: float


class VoiceEmbedding:
    """One voice in the making, in `async with`: leaving it early takes its pieces back. Owned by one call."""

    def __init__(self, model: ServedSpeaker, audio: AudioOptions, options: EmbedOptions, executor: Executor) -> None:
        """Raises NoVoiceActivity as VoiceFront does."""
        self._model = model
        self._normalize = options.normalize
        self._front = VoiceFront(model, audio, options)
        self._executor = executor
        self._waiting: list[Samples] = []
        self._num_waiting = 0
        self._last: list[Samples] | None = None  # the last pieces, where the voice came as a whole
        self._pieces: list[tuple[asyncio.Task[PieceVector], int]] = []
        self._places = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._stack = AsyncExitStack()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    def take_whole(self, samples: Samples) -> None:
        """Take a whole voice, (channels, n) samples at the model's rate; any thread, then only `finish`.

        Raises BadRequest, BadAudio, AudioTooShort.
        """
        begun = self._front.push(samples) if samples.size else []
        self._last = begun + self._front.flush()

    async def push(self, samples: Samples) -> None:
        """Take (channels, n) samples at the model's rate; waits while much is under way. Raises BadRequest."""
        self._waiting.append(samples)
        self._num_waiting += samples.shape[1]
        if self._num_waiting >= HOP_S * self._model.sample_rate:
            await self._submit(await self._on_thread(self._work_off))

    async def finish(self) -> Embedded:
        """End the voice and return its vector. Raises BadRequest, BadAudio, AudioTooShort, and the batcher's errors."""
        if self._last is None:
            self._last = await self._on_thread(lambda: self._work_off() + self._front.flush())
        await self._submit(self._last)
        done = [(await piece, size) for piece, size in self._pieces]
        sizes = [size for _, size in done]
        vector = weighted_mean(np.stack([piece.vector for piece, _ in done]), sizes)
        return Embedded(
            vector=unit(vector) if self._normalize else vector,
            audio_s=self._front.audio_s,
            speech_s=self._front.speech_s,
            quality=self._front.quality,
            num_windows=len(done),
            filled_share=sum(piece.filled_share * size for piece, size in done) / sum(sizes),
        )

    async def _submit(self, pieces: list[Samples]) -> None:
        for piece in pieces:
            await self._places.acquire()
            # Only a voice's first piece is refused by a full queue; what was begun goes on.
            embed = self._model.embed_of_long if self._pieces else self._model.pieces.embed
            self._pieces.append((self._group.create_task(self._embed(embed, piece)), len(piece)))

    async def _embed(self, embed: Callable[[Samples], Awaitable[PieceVector]], piece: Samples) -> PieceVector:
        try:
            return await embed(piece)
        finally:
            self._places.release()

    def _work_off(self) -> list[Samples]:
        waiting, self._waiting, self._num_waiting = self._waiting, [], 0
        return self._front.push(np.concatenate(waiting, axis=1)) if waiting else []

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


async def embed_audio(model: ServedSpeaker, voice: VoiceAudio, executor: Executor) -> Embedded:
    """Embed one whole message. Raises what decoding and VoiceEmbedding raise."""
    limit_s = model.config.max_audio_s
    async with VoiceEmbedding(model, voice.options, voice.embedding, executor) as embedding:
        await decode_whole(
            executor,
            voice.options.audio,
            model.sample_rate,
            voice.content,
            limit_s,
            "speaker.max_audio_s",
            embedding.take_whole,
        )
        return await embedding.finish()
    raise AssertionError("unreachable: the group does not swallow errors")
