"""One streaming call: its sessions, one per channel, the audio's way to them, and what may change in mid-stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np

from protos import recognizer_pb2 as pb
from server import convert
from server.convert_biasing import hotwords_report
from server.convert_speakers import refuse_speaker_tags
from server.errors import BadRequest, IdleStream
from server.hotwords import CompiledHotwords, Hotwords
from server.intake import Intake, open_intake
from server.models import ServedModel
from server.options import MAX_CHANNELS, RecognitionOptions
from server.session import Session
from server.turns import one_by_one
from server.watchdog import IdleWatchdog
from speech.errors import BadAudio
from speech.results import Result, SpeechEvent


class StreamCall:
    """The sessions of one streaming call, one per channel, and the audio's way to them."""

    def __init__(
        self,
        model: ServedModel,
        options: RecognitionOptions,
        write: Callable[[pb.StreamingRecognizeResponse], Awaitable[None]],
        containers: Executor,
        hotwords: Hotwords,
    ) -> None:
        self._model = model
        self._options = options
        self._hotwords = hotwords
        self._write = write
        self._writing = asyncio.Lock()
        self._sessions: list[Session] = []
        self._intake: Intake = open_intake(options.audio, model.sample_rate, containers)
        self._held = bytearray()
        self._enough = 0  # bytes that may complete a chunk
        # For reads and writes alike: the call's task waits for one of them at a time, and its children for the lock.
        self.watchdog = IdleWatchdog(model.config.streaming.idle_timeout_s)

    def open(self) -> None:
        """Lease a slot per channel, if their number is known before the audio. Raises SlotsExhausted."""
        if self._options.audio.channels:
            self._open(self._options.audio.channels)

    @property
    def is_done(self) -> bool:
        """Every channel has had its single utterance."""
        return bool(self._sessions) and all(session.is_done for session in self._sessions)

    def hold(self, data: bytes) -> bool:
        """Keep a packet that completes no chunk, at the cost of a copy; False when `push` has to take it."""
        if len(self._held) + len(data) >= self._enough:
            return False
        self._held += data
        return True

    async def push(self, data: bytes) -> None:
        """Recognise one packet and those held before it."""
        for session in self._sessions:
            session.begin()
        self._held += data
        held, self._held = self._held, bytearray()
        async with aclosing(self._intake.push(held)) as pieces:
            async for samples in pieces:
                await self._push_samples(samples)
                if self.is_done:  # the rest of the packet is not heard: decoding it would only hold up the loop
                    return
        missing = min((session.num_missing for session in self._sessions if not session.is_done), default=0)
        self._enough = self._intake.bytes_for(missing)

    async def finish(self) -> None:
        """Recognise what was held back, and send the last results, those before a damaged end of the audio too."""
        damage: BadAudio | None = None
        if not self.is_done:
            try:
                if self._held:
                    await self.push(b"")
                async with aclosing(self._intake.finish()) as pieces:
                    async for samples in pieces:
                        await self._push_samples(samples)
            except BadAudio as error:
                damage = error
        for session in self._sessions:
            await session.finish()
        if damage is not None:
            raise damage

    async def report(self, hotwords: CompiledHotwords | None) -> None:
        """Answer a configuration with hotwords."""
        if hotwords is not None:
            report = hotwords_report(hotwords.num_hotwords, hotwords.unspellable)
            async with self._writing:
                await self._write_in_time(pb.StreamingRecognizeResponse(hotwords=report))

    async def change(
        self, old: pb.StreamingRecognitionConfig, new: pb.StreamingRecognitionConfig
    ) -> pb.StreamingRecognitionConfig:
        """Take a later configuration. Raises BadRequest naming the first field that may not change in mid-stream."""
        _check_unchanged(old, new)
        self._options, hotwords = await self._hotwords.apply(self._model, streaming_options(new, self._model))
        for session in self._sessions:
            session.change(self._options)
        if new.config.hotwords != old.config.hotwords:
            await self.report(hotwords)
        return new

    async def close(self, facts: dict[str, Any]) -> None:
        """Give everything back, and leave the stream's numbers in `facts`.

        Must never await: when the grace period ends, gRPC cancels a handler's clean-up at its first await.
        """
        self.watchdog.close()
        self._intake.close()
        for session in self._sessions:
            session.__exit__(None, None, None)
        stats = [session.stats for session in self._sessions]
        facts.update(
            model=self._model.name,
            audio_s=round(sum(each.audio_s for each in stats), 3),
            chunks=sum(each.chunks for each in stats),
            step_p50_ms=round(max((each.latency_ms(0.5) for each in stats), default=0.0), 1),
            step_p99_ms=round(max((each.latency_ms(0.99) for each in stats), default=0.0), 1),
        )

    async def _write_in_time(self, message: pb.StreamingRecognizeResponse) -> None:
        """Flow control stops us while the client does not read; one that never reads must not keep its slot."""
        timeout_s = self._model.config.streaming.idle_timeout_s
        try:
            with self.watchdog:
                await self._write(message)
        except TimeoutError:
            raise IdleStream(f"no result was read for {timeout_s:g} s (streaming.idle_timeout_s)") from None

    async def _push_samples(self, samples: np.ndarray) -> None:
        if not self._sessions:
            self._open(len(samples))
        live = [pair for pair in zip(self._sessions, samples, strict=True) if not pair[0].is_done]
        if len(live) == 1:
            await live[0][0].push(live[0][1])
            return
        async with asyncio.TaskGroup() as group:
            for session, channel in live:
                group.create_task(session.push(channel))

    def _open(self, num_channels: int) -> None:
        if num_channels > MAX_CHANNELS:
            raise BadRequest(f"the audio has {num_channels} channels; allowed: 1 to {MAX_CHANNELS}")
        for channel in range(num_channels):
            tag = channel + 1 if num_channels > 1 else 0
            self._sessions.append(Session(self._model, self._options, self._emitter(tag)))

    def _emitter(self, tag: int) -> Callable[[Result | SpeechEvent], Awaitable[None]]:
        async def emit(outcome: Result | SpeechEvent) -> None:
            if isinstance(outcome, Result):
                message = await _result_message(outcome, tag)
            else:
                message = convert.speech_event(outcome, tag)
            async with self._writing:  # gRPC allows one write at a time; channels finish chunks together
                await self._write_in_time(message)

        return emit


async def _result_message(result: Result, tag: int) -> pb.StreamingRecognizeResponse:
    if not result.is_final:  # one alternative without words
        return convert.streaming_result(result, tag)
    message = convert.streaming_result(replace(result, alternatives=()), tag)
    message.results[0].alternatives.extend(await one_by_one(map(convert.alternative, result.alternatives)))
    return message


def streaming_options(config: pb.StreamingRecognitionConfig, model: ServedModel) -> RecognitionOptions:
    """Check a stream's configuration. Raises BadRequest naming the field and what is allowed."""
    refuse_speaker_tags(config.config.diarization_config)
    return convert.recognition_options(
        config.config, model, interim_results=config.interim_results, single_utterance=config.single_utterance
    )


CHANGEABLE = frozenset(
    {"max_alternatives", "enable_word_time_offsets", "enable_token_time_offsets", "endpointing_config", "hotwords"}
)


def _check_unchanged(old: pb.StreamingRecognitionConfig, new: pb.StreamingRecognitionConfig) -> None:
    for field in pb.RecognitionConfig.DESCRIPTOR.fields:
        if field.name not in CHANGEABLE and getattr(old.config, field.name) != getattr(new.config, field.name):
            allowed = ", ".join(sorted(CHANGEABLE | {"interim_results"}))
            raise BadRequest(f"{field.name} cannot change in mid-stream; what can: {allowed}")
    if old.single_utterance != new.single_utterance:
        raise BadRequest("single_utterance cannot change in mid-stream")
