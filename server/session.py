"""One stream from lease to release: samples in, results out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import zip_longest
from types import TracebackType

import numpy as np

from engines.rescoring import RescoreItem
from engines.streaming import Kept, StepItem
from server.models import ServedModel
from server.options import RecognitionOptions
from server.read_ahead import ReadAhead, silence_before_endpoint
from server.stream_stats import StreamStats
from server.turns import one_by_one
from speech.framing import Framer, Window
from speech.recognition import Outcome, Recognition, SegmentEnd
from speech.results import Result, SpeechEvent

Emit = Callable[[Result | SpeechEvent], Awaitable[None]]


class Session:
    """Owns one stream: its lease, framer and recognition. Used by the call's task only.

    A context manager: leaving it, for whatever reason, gives the lease back.
    """

    def __init__(self, model: ServedModel, options: RecognitionOptions, emit: Emit) -> None:
        """Lease a slot. Raises SlotsExhausted when all are taken."""
        self._model = model
        self._options = options
        self._emit = emit
        self._framer = Framer(model.framing)
        self._recognition = Recognition(
            tokens=model.tokens,
            frame_ms=model.encoder_frame_ms,
            endpoint=options.endpoint,
            options=options.results,
            position_limit_frames=model.position_limit_frames,
            keeps_encoder=model.is_transducer,
            lead_ms=model.token_lead_ms,
            kept_per_frame=model.framing.subsampling if self._kept == "features" else 1,
        )
        self._sample_rate = model.sample_rate
        self._started = 0.0
        self._budget = model.config.streaming.latency_budget_ms / 1000
        self._is_ending = False
        self._ahead = ReadAhead(model.try_rescore)
        self.stats = StreamStats()
        self._lane, self._lease = model.lanes.lease()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.forget()
        self.stats.audio_s = self._framer.num_samples / self._sample_rate
        self._lane.give_back(self._lease)

    @property
    def _kept(self) -> Kept | None:
        """What the second look at a segment needs, if there is to be one."""
        decoding = self._options.decoding
        if not decoding.rescoring:
            return None
        return "features" if decoding.second_pass and self._model.hears_anew else "encoder_out"

    @property
    def is_done(self) -> bool:
        """A single-utterance stream has had its utterance."""
        return self._recognition.is_done

    def change(self, options: RecognitionOptions) -> None:
        """Take what may change in mid-stream from `options`."""
        self._options = options
        self._ahead.forget()
        self._recognition.change(options.results, options.endpoint)

    @property
    def num_missing(self) -> int:
        """Samples at the model's rate that the next chunk still needs."""
        return self._framer.num_missing

    def begin(self) -> None:
        """Start the audio's clock, at the arrival of the first packet; deadlines count from it."""
        if not self._started:
            self._started = time.monotonic()

    async def push(self, samples: np.ndarray) -> None:
        """Recognise (n,) float32 samples at the model's rate, as far as they fill chunks; not once `is_done`."""
        self.begin()
        for window in self._framer.push_iter(samples):
            await self._step(window)
            if self.is_done:
                return

    async def finish(self) -> None:
        """Recognise what is left, and send the last results."""
        self._is_ending = True
        if not self.is_done:
            await self._finish_steps(list(self._framer.flush()))
        await self._handle(self._recognition.flush(self._audio_ms()))

    async def _step(self, window: Window) -> None:
        await self._handle(await self._recognised(window))

    async def _finish_steps(self, windows: list[Window]) -> None:
        """Recognise the last chunks, each under way while the results of the one before are sent.

        Somebody waits for the last of them, and a chunk that comes after its results were sent misses the next step.
        """
        steps = [partial(self._recognised, window, is_followed=window is not windows[-1]) for window in windows]
        ahead: asyncio.Task[list[Outcome]] | None = None
        try:
            for step, following in zip_longest(steps, steps[1:]):
                outcomes = await (ahead or step())
                ahead = None
                if following is not None and not any(isinstance(outcome, SegmentEnd) for outcome in outcomes):
                    ahead = asyncio.create_task(following())
                await self._handle(outcomes)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def _recognised(self, window: Window, is_followed: bool = False) -> list[Outcome]:
        """Run one step, and return what it says."""
        item = StepItem(
            slot=self._lease.slot,
            window=window,
            restart_encoder=self._recognition.restart_encoder,
            restart_search=self._recognition.restart_search,
            options=self._options.decoding.search,
            keep=self._kept,
            bias=self._options.decoding.bias,
        )
        begin = time.monotonic()
        output = await self._lane.step(item, self._lease, self._deadline(window, begin), is_followed)
        self.stats.add_chunk(time.monotonic() - begin)
        outcomes = self._recognition.push(output, self._audio_ms(window))
        self._read_ahead()
        return outcomes

    def _read_ahead(self) -> None:
        """Begin the second pass where the segment may have ended."""
        if not self._options.decoding.second_pass or not self._model.config.rescoring.read_ahead or self._is_ending:
            return
        silence_ms = silence_before_endpoint(self._options.endpoint, self._model.chunk_ms)
        pause = None if silence_ms is None else self._recognition.pause(silence_ms)
        item = None if pause is None else self._rescore_item(pause)
        if pause is not None and item is not None:
            self._ahead.begin(pause, item)

    def _deadline(self, window: Window, now: float) -> float:
        """When the chunk is due by the audio's clock.

        A live stream's chunk is due a budget after now. A stream that sends faster than real time is ahead of the
        audio's clock by as much as it is early, so its chunks wait behind all live ones. The last chunks of a stream
        have no budget, and the silence heard after its end does not count: somebody waits for the final result, which
        takes several steps, one after the other.
        """
        end = min(self._end_of(window), self._framer.num_samples)
        return max(now, self._started + end / self._sample_rate) + (0.0 if self._is_ending else self._budget)

    def _end_of(self, window: Window) -> int:
        """Samples of the stream up to the end of the window's last valid frame."""
        fbank = self._model.framing.fbank
        return (window.start_frame + window.num_frames - 1) * fbank.frame_shift + fbank.frame_length

    def _audio_ms(self, window: Window | None = None) -> int:
        samples = self._framer.num_samples if window is None else min(self._end_of(window), self._framer.num_samples)
        return samples * 1000 // self._sample_rate

    async def _handle(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, SegmentEnd):
                await self._finish_segment(outcome)
            else:
                await self._emit(outcome)

    async def _finish_segment(self, end: SegmentEnd) -> None:
        nbest = end.nbest
        item = self._rescore_item(end)
        if item is not None:
            ahead = await self._ahead.result(end)
            nbest = await self._model.rescore(item) if ahead is None else ahead
        found = await one_by_one(self._recognition.alternatives(nbest))
        await self._handle(self._recognition.finish_segment(nbest, found))

    def _rescore_item(self, end: SegmentEnd) -> RescoreItem | None:
        """What rescoring or second pass is given, if there is something."""
        if end.history is None or not end.nbest.tokens:
            return None
        decoding = self._options.decoding
        weights = decoding.ctc_weight, decoding.reverse_weight
        is_features = self._kept == "features"
        return RescoreItem(end.history, end.nbest, *weights, decoding.second_pass, decoding.bias, is_features)
