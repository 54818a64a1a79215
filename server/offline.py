"""Unary recognition: whole audio in, one result per piece and channel out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

import numpy as np

from engines.recordings import OfflineItem, OfflineOutput
from server.bulk import Bulk
from server.config import OfflineConfig
from server.decoding import decode_whole
from server.models import ServedModel
from server.options import RecognitionOptions
from server.places import Memory, Places
from server.session import Session
from server.speaker.tagging import SpeakerTagger, Tagging
from server.turns import one_by_one
from speech.cutting import cut_at_quiet
from speech.recognition import whole_result
from speech.results import Result, SpeechEvent
from speech.transcript import Timeline, alternatives


class OfflineRecognizer:
    """Turns one request's bytes into results. Shared by all unary calls, which it counts."""

    def __init__(self, config: OfflineConfig, executor: Executor, tagger: SpeakerTagger) -> None:
        """`tagger` says whose words they are, for those who ask."""
        self._config = config
        self._executor = executor
        self._tagger = tagger
        self._calls = Places(config.max_requests, "unary recognitions", "offline.max_requests")
        self._memory = Memory(config.max_memory_mb, "audio of unary recognitions", "offline.max_memory_mb")
        self._bulk = Bulk(config.max_queue_size)

    async def recognize(
        self, model: ServedModel, options: RecognitionOptions, data: bytes
    ) -> tuple[list[tuple[int, Result]], float]:
        """Return (channel tag, result) pairs in order of time, and the seconds of audio of the longest channel.

        Raises BadAudio for bytes that are not what they should be, or more audio than `max_audio_s`; where speakers
        are asked for, UnknownModel and NoVoiceActivity. Raises TooManyStreams where too many requests, or too much
        audio of others, are under way, and Overloaded where the queue is full, for which long recordings wait.
        """
        with self._calls.taken(), self._memory.held() as hold:
            hold(len(data))
            return await self._recognize(model, options, data, hold)

    async def _recognize(
        self, model: ServedModel, options: RecognitionOptions, data: bytes, hold: Callable[[int], None]
    ) -> tuple[list[tuple[int, Result]], float]:
        tagging = None if options.speaker_tags is None else self._tagger.tagging(options.speaker_tags)
        channels = await decode_whole(
            self._executor, options.audio, model.sample_rate, data, self._config.max_audio_s, "offline.max_audio_s"
        )
        if not channels.size:
            return [], 0.0
        hold(channels.nbytes)
        if tagging is not None:
            tagging.check_length(channels.size / model.sample_rate)
        tags = [0] if len(channels) == 1 else list(range(1, len(channels) + 1))
        # A long file takes its turns with other callers' requests instead of filling the queue they share.
        places = asyncio.Semaphore(2 * self._config.max_batch_size)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._channel(model, options, samples, places, tagging)) for samples in channels]
        pairs = [(tag, result) for tag, task in zip(tags, tasks, strict=True) for result in task.result()]
        pairs.sort(key=lambda pair: (pair[1].start_ms, pair[0]))
        return pairs, channels.shape[1] / model.sample_rate

    async def _channel(
        self,
        model: ServedModel,
        options: RecognitionOptions,
        samples: np.ndarray,
        places: asyncio.Semaphore,
        tagging: Tagging | None,
    ) -> list[Result]:
        if tagging is None:
            return await self._recognised(model, options, samples, places)
        async with asyncio.TaskGroup() as group:
            recognised = group.create_task(self._recognised(model, options, samples, places))
            found = group.create_task(tagging.speakers(samples, model.sample_rate))
        results, speakers = recognised.result(), found.result()
        loop = asyncio.get_running_loop()  # hours of words are a second's work
        return await loop.run_in_executor(self._executor, lambda: [speakers.tagged(each) for each in results])

    async def _recognised(
        self, model: ServedModel, options: RecognitionOptions, samples: np.ndarray, places: asyncio.Semaphore
    ) -> list[Result]:
        if model.offline_batcher is None:
            return await self._through_stream(model, options, samples)
        longest_s = min(self._config.max_piece_s, model.max_piece_s)
        loop = asyncio.get_running_loop()
        pieces = await loop.run_in_executor(self._executor, cut_at_quiet, samples, model.sample_rate, longest_s)

        is_long = len(pieces) > 1

        async def in_turn(begin: int, end: int) -> Result | None:
            async with places:
                return await self._piece(model, options, samples, begin, end, waits=is_long)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(in_turn(*piece)) for piece in pieces]
        return [result for task in tasks if (result := task.result()) is not None]

    async def _piece(
        self, model: ServedModel, options: RecognitionOptions, samples: np.ndarray, begin: int, end: int, *, waits: bool
    ) -> Result | None:
        decoding = options.decoding
        item = OfflineItem(
            samples[begin:end], decoding.search, decoding.rescoring, decoding.ctc_weight, decoding.reverse_weight,
            decoding.bias, decoding.second_pass,
        )  # fmt: skip

        def submit() -> Awaitable[OfflineOutput]:
            return model.recognize(item, options.priority, options.queue_timeout_ms)

        output = await (self._bulk.run(submit) if waits else submit())
        rate = model.sample_rate
        timeline = Timeline(begin * 1000 // rate, model.encoder_frame_ms, model.token_lead_ms)
        best = alternatives(output.nbest, model.tokens, timeline, options.results, options.results.max_alternatives)
        return whole_result(
            output.nbest,
            tokens=model.tokens,
            frame_ms=model.encoder_frame_ms,
            options=options.results,
            start_ms=begin * 1000 // rate,
            end_ms=end * 1000 // rate,
            lead_ms=model.token_lead_ms,
            found=await one_by_one(best),
        )

    async def _through_stream(
        self, model: ServedModel, options: RecognitionOptions, samples: np.ndarray
    ) -> list[Result]:
        """For a model without an offline graph: the streaming one, as fast as it goes."""
        results: list[Result] = []

        async def keep(result: Result | SpeechEvent) -> None:
            if isinstance(result, Result) and result.is_final:
                results.append(result)

        with Session(model, options, keep) as session:
            await session.push(samples)
            await session.finish()
        return results
