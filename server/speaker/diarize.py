"""The methods Diarize and DiarizeStream of the Speaker service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing
from typing import Any

import numpy as np

from protos import speaker_pb2 as pb
from server.calls import Calls
from server.decoding import decode_whole
from server.errors import IdleStream
from server.intake import Intake, open_intake
from server.places import Places
from server.speaker import convert, diarize_replies
from server.speaker.diarize_convert import Asked, asked
from server.speaker.diarize_replies import Named
from server.speaker.diarizing import Diarized, Progress, diarize_whole, diarizing
from server.speaker.models import ServedSpeaker, SpeakerModels
from server.speaker.options import AudioOptions
from server.speaker.requests import AudioRequests
from server.speaker.voices import Voices
from speech.diarization.naming import name_speakers


class DiarizeMethods:
    """A part of SpeakerServicer, which owns what it uses."""

    _models: SpeakerModels
    _voices: Voices
    _calls: Calls
    _decoding: Executor
    _diarizing: Executor
    _containers: Executor
    _places: Places
    _idle_timeout_s: float

    async def Diarize(self, request: pb.DiarizeRequest, context: Any) -> pb.DiarizeResponse:
        """Say who spoke when in one message of audio."""
        async with self._calls.call("Diarize", context) as facts:
            model = self._models.find(request.config.model)
            audio = convert.audio_options(request.config)
            wanted = asked(request.diarization, model)
            limit_s = model.config.max_audio_s
            decoded = decode_whole(
                self._decoding, audio.audio, model.sample_rate, request.audio, limit_s, "speaker.max_audio_s"
            )
            done = await diarize_whole(model, audio, wanted.options, self._diarizing, await decoded)
            return await self._reply(model, wanted, audio, done, facts)
        raise AssertionError("unreachable: the call ended with an error")

    async def DiarizeStream(self, request_iterator: Any, context: Any) -> None:
        """Say who spoke when in streamed audio, and meanwhile how far it is."""
        async with self._calls.call("DiarizeStream", context) as facts, AsyncExitStack() as stack:
            requests = AudioRequests(context, self._idle_timeout_s)
            config: pb.DiarizeStreamConfig = await requests.config()
            model = self._models.find(config.config.model)
            audio = convert.audio_options(config.config)
            wanted = asked(config.diarization, model)
            if audio.audio.encoding.is_container:
                stack.enter_context(self._places.taken())
            intake = open_intake(audio.audio, model.sample_rate, self._containers)
            stack.callback(intake.close)
            work = await stack.enter_async_context(diarizing(model, audio, wanted.options, self._diarizing))

            async def report(state: Progress) -> None:
                await self._write(context, diarize_replies.progress(state))

            async with aclosing(_samples(requests, intake)) as blocks:
                async for samples in blocks:
                    if await work.push(samples):
                        await report(work.progress("listening"))
            done = await work.finish(report)
            result = await self._reply(model, wanted, audio, done, facts)
            await self._write(context, pb.DiarizeStreamResponse(result=result))

    async def _write(self, context: Any, message: pb.DiarizeStreamResponse) -> None:
        """Flow control stops us while the client does not read; one that never reads must not stay for ever."""
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                await context.write(message)
        except TimeoutError:
            raise IdleStream(f"no message was read for {self._idle_timeout_s:g} s (streaming.idle_timeout_s)") from None

    async def _reply(
        self, model: ServedSpeaker, wanted: Asked, audio: AudioOptions, done: Diarized, facts: dict[str, Any]
    ) -> pb.DiarizeResponse:
        speakers = len(done.diarization.speakers)
        facts.update(model=model.name, audio_s=round(done.audio_s, 3), speakers=speakers)
        names = await self._names(model, wanted, done)
        return diarize_replies.result(model, wanted, audio.region.start_ms, done, names)

    async def _names(self, model: ServedSpeaker, wanted: Asked, done: Diarized) -> list[Named | None]:
        """Enrolled speakers' ids; none where no gallery was named. Raises WrongFingerprint."""
        if not wanted.gallery:
            return []
        centres = await self._voices.centres(model, wanted.gallery)
        found = name_speakers(done.diarization.speakers, centres.centres, wanted.name_threshold)
        return [None if name is None else Named(centres.ids[name.row], name.score) for name in found]


async def _samples(requests: AudioRequests, intake: Intake) -> AsyncGenerator[np.ndarray, None]:
    """All of a call's audio, (channels, n) at the model's rate."""
    while (data := await requests.audio()) is not None:
        async with aclosing(intake.push(data)) as pieces:
            async for samples in pieces:
                yield samples
    async with aclosing(intake.finish()) as pieces:
        async for samples in pieces:
            yield samples
