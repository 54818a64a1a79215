"""One recording on its way to who spoke when. The event loop moves samples; threads and the batcher do the work.

Memory grows with the number of pieces (a vector each) and segmentation windows (a byte a frame), not with the audio.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from server.speaker.front import RegionCutter, pick_channel
from server.speaker.models import ServedSpeaker
from server.speaker.options import AudioOptions
from speech.audio import Samples
from speech.diarization.front import Cut, DiarizationFront, Piece, SegmentationWindow
from speech.diarization.options import DiarizationOptions
from speech.diarization.powerset import LocalTracks, decode
from speech.diarization.story import Diarization, draw_turns, find_speakers
from speech.diarization.vad import Region

HOP_S = 4.0  # audio goes to a thread in portions of this length
MAX_IN_FLIGHT = 8  # pieces of one recording with the batcher: long audio takes its turns with other calls
MAX_SEGMENTING = 2  # windows of 10 s under way
SLICE_S = 60.0  # how much of a whole recording is given to the pipeline at a time
REPORT_EVERY_S = 1.0

Stage = Literal["listening", "embedding", "clustering", "segmenting"]
T = TypeVar("T")


class Abandoned(Exception):
    """Raised on a thread whose caller has gone; nobody sees it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one recording is."""

    stage: Stage
    audio_s: float
    speech_s: float
    windows_done: int
    windows_total: int


@dataclass(frozen=True, slots=True, eq=False)
class Diarized:
    """Who spoke when, in seconds of the region, and what it was made of."""

    diarization: Diarization
    audio_s: float
    speech_s: float
    num_windows: int
    filled_share: float


Report = Callable[[Progress], Awaitable[None]]


async def no_report(progress: Progress) -> None:
    """For callers who only want the result."""


@asynccontextmanager
async def diarizing(
    model: ServedSpeaker, audio: AudioOptions, options: DiarizationOptions, executor: Executor
) -> AsyncIterator[Diarizing]:
    """Diarize inside; leaving early, for whatever reason, takes pieces back and ends the clustering."""
    abandoned = threading.Event()
    try:
        async with asyncio.TaskGroup() as group:
            yield Diarizing(model, audio, options, executor, group, abandoned)
    finally:
        abandoned.set()


async def diarize_whole(
    model: ServedSpeaker, audio: AudioOptions, options: DiarizationOptions, executor: Executor, samples: np.ndarray
) -> Diarized:
    """Say who spoke when in (channels, n) samples at the model's rate. Raises as Diarizing's methods do."""
    async with diarizing(model, audio, options, executor) as work:
        size = int(SLICE_S * model.sample_rate)
        for begin in range(0, samples.shape[1], size):
            await work.push(samples[:, begin : begin + size])
        del samples  # hours of it are of no use while they are clustered; give us the only reference
        return await work.finish()
    raise AssertionError("unreachable: the group of tasks passes errors on")


class Diarizing:
    """Owned by one call; `executor` threads run one at a time for the front, several for segmentation."""

    def __init__(
        self,
        model: ServedSpeaker,
        audio: AudioOptions,
        options: DiarizationOptions,
        executor: Executor,
        group: asyncio.TaskGroup,
        abandoned: threading.Event,
    ) -> None:
        """The model must have voice activity, and a segmentation if `options.overlap.is_on`."""
        assert model.vad is not None, "asked of a model without voice activity"
        self._model = model
        self._segmentation = model.segmentation if options.overlap.is_on else None
        self._options = options
        self._executor = executor
        self._group = group
        self._abandoned = abandoned
        self._channel = audio.channel
        self._region = RegionCutter(audio.region, model.sample_rate)
        self._vad = model.vad.stream()
        self._front = DiarizationFront(options, segments=self._segmentation is not None)
        self._waiting: list[np.ndarray] = []
        self._num_waiting = 0
        self._regions: list[Region] = []
        self._vectors: dict[int, np.ndarray] = {}
        self._filled = 0.0  # the pieces' shares of repeated audio, added up
        self._tracks: list[LocalTracks] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._embedding = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._segmenting = asyncio.Semaphore(MAX_SEGMENTING)

    def progress(self, stage: Stage) -> Progress:
        """How far this recording is."""
        rate = self._model.sample_rate
        return Progress(
            stage,
            self._front.num_samples / rate,
            self._front.speech_samples / rate,
            len(self._vectors),
            len(self._regions),
        )

    async def push(self, samples: np.ndarray) -> bool:
        """Take (channels, n) samples at the model's rate; waits while much is under way. True when progress was made.

        Raises BadRequest, BadAudio.
        """
        self._waiting.append(samples)
        self._num_waiting += samples.shape[1]
        if self._num_waiting < HOP_S * self._model.sample_rate:
            return False
        await self._submit(await self._on_thread(self._work_off))
        return True

    async def finish(self, report: Report = no_report) -> Diarized:
        """End the recording and say who spoke when. Raises BadRequest, BadAudio, and the batcher's errors."""
        await self._submit(await self._on_thread(self._end))
        await self._settle(report)
        embeddings = np.zeros((0, self._model.engine.dimension), np.float32)
        if self._regions:
            embeddings = np.stack([self._vectors[index] for index in range(len(self._regions))])
        await report(self.progress("clustering"))
        labels = await self._on_thread(lambda: find_speakers(embeddings, self._options, self._check))
        await report(self.progress("segmenting"))
        diarization = await self._on_thread(
            lambda: draw_turns(
                self._regions,
                embeddings,
                labels,
                self._options,
                num_samples=self._front.num_samples,
                windows=sorted(self._tracks, key=lambda tracks: tracks.first_frame),
                check=self._check,
            )
        )
        done = self.progress("segmenting")
        filled = self._filled / max(1, done.windows_total)
        return Diarized(diarization, done.audio_s, done.speech_s, done.windows_total, filled)

    async def _settle(self, report: Report) -> None:
        """Wait for what is under way; say how far it is every now and then."""
        while self._tasks:
            await report(self.progress("embedding"))
            if tasks := set(self._tasks):  # the last may have ended while the report was written
                await asyncio.wait(tasks, timeout=REPORT_EVERY_S)

    async def _submit(self, cut: Cut) -> None:
        for window in cut.windows:
            await self._segmenting.acquire()
            self._start(self._segment(window))
        for piece in cut.pieces:
            self._regions.append(piece.region)
            await self._embedding.acquire()
            self._start(self._embed(len(self._regions) - 1, piece))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _embed(self, index: int, piece: Piece) -> None:
        try:
            embedded = await self._model.embed_of_long(piece.samples)
            self._vectors[index] = embedded.vector
            self._filled += embedded.filled_share
        finally:
            self._embedding.release()

    async def _segment(self, window: SegmentationWindow) -> None:
        assert self._segmentation is not None, "windows are cut only for a segmentation"
        segmentation = self._segmentation
        try:
            log_probs = await self._on_thread(lambda: segmentation.log_probs(window.samples[np.newaxis])[0])
            self._tracks.append(decode(window.first_frame, log_probs))
        finally:
            self._segmenting.release()

    def _work_off(self) -> Cut:
        """On a thread: what has been pushed since the last time."""
        samples = self._taken()
        return self._front.push(samples, self._vad.push(samples))

    def _end(self) -> Cut:
        """On a thread: the rest."""
        samples = self._taken()
        self._region.check_end()
        first = self._front.push(samples, self._vad.push(samples))
        last = self._front.flush(self._vad.flush())
        return Cut(first.pieces + last.pieces, first.windows + last.windows)

    def _taken(self) -> Samples:
        """The waiting samples of the chosen channel that lie in the region."""
        waiting, self._waiting, self._num_waiting = self._waiting, [], 0
        if not waiting:
            return np.zeros(0, np.float32)
        return self._region.push(pick_channel(np.concatenate(waiting, axis=1), self._channel))

    def _check(self) -> None:
        if self._abandoned.is_set():
            raise Abandoned

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
