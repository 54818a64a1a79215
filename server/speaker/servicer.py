"""The Speaker service: proto messages in, vectors and the gallery inside, proto messages out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeVar

import numpy as np

from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc as rpc
from server.calls import Calls
from server.errors import BadRequest
from server.gallery.gallery import Gallery
from server.gallery.search import closest
from server.gallery.store import GalleryStore, StoredVoice
from server.intake import open_intake
from server.places import Places
from server.speaker import convert, replies
from server.speaker.diarize import DiarizeMethods
from server.speaker.embedding import VoiceEmbedding, embed_audio
from server.speaker.models import ServedSpeaker, SpeakerModels
from server.speaker.options import SpeakerKey, VoiceAudio
from server.speaker.requests import AudioRequests
from server.speaker.voices import ResolvedVoice, Voices
from speech.verification.cohort import normalise
from speech.verification.vectors import cosine, unit

T = TypeVar("T")


class SpeakerServicer(DiarizeMethods, rpc.SpeakerServicer):
    """Implements chorus.v1.Speaker over the loaded speaker models."""

    def __init__(
        self,
        models: SpeakerModels,
        gallery: Gallery,
        calls: Calls,
        decoding: Executor,
        diarizing: Executor,
        containers: Executor,
        places: Places,
        idle_timeout_s: float,
    ) -> None:
        """`decoding` decodes whole messages, `containers` streams of container formats, one thread and place each.

        `diarizing` finds speech, segments and clusters.
        """
        self._models = models
        self._gallery = gallery
        self._voices = Voices(gallery, decoding)
        self._calls = calls
        self._decoding = decoding
        self._diarizing = diarizing
        self._containers = containers
        self._places = places
        self._idle_timeout_s = idle_timeout_s

    async def ListSpeakerModels(
        self, request: pb.ListSpeakerModelsRequest, context: Any
    ) -> pb.ListSpeakerModelsResponse:
        """Describe every speaker model."""
        return pb.ListSpeakerModelsResponse(
            models=[replies.model_info(model, self._models.is_default(model)) for model in self._models]
        )

    # --- vectors

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """Turn one message of audio into a vector."""
        async with self._calls.call("Embed", context) as facts:
            model = self._models.find(request.config.model)
            options = convert.audio_options(request.config)
            voice = VoiceAudio(options, convert.embed_options(request.options), request.audio)
            result = await embed_audio(model, voice, self._decoding)
            facts.update(model=model.name, audio_s=round(result.audio_s, 3))
            return replies.embedded(model, result)
        raise AssertionError("unreachable: the call ended with an error")

    async def EmbedStream(self, request_iterator: Any, context: Any) -> pb.EmbedResponse:
        """Turn streamed audio into a vector."""
        async with self._calls.call("EmbedStream", context) as facts, AsyncExitStack() as stack:
            requests = AudioRequests(context, self._idle_timeout_s)
            config: pb.EmbedStreamConfig = await requests.config()
            model = self._models.find(config.config.model)
            audio = convert.audio_options(config.config)
            if audio.audio.encoding.is_container:
                stack.enter_context(self._places.taken())
            intake = open_intake(audio.audio, model.sample_rate, self._containers)
            stack.callback(intake.close)
            options = convert.embed_options(config.options)
            embedding = VoiceEmbedding(model, audio, options, self._decoding)
            await stack.enter_async_context(embedding)
            while (data := await requests.audio()) is not None:
                async with aclosing(intake.push(data)) as pieces:
                    async for samples in pieces:
                        await embedding.push(samples)
            async with aclosing(intake.finish()) as pieces:
                async for samples in pieces:
                    await embedding.push(samples)
            result = await embedding.finish()
            facts.update(model=model.name, audio_s=round(result.audio_s, 3))
            return replies.embedded(model, result)
        raise AssertionError("unreachable: the call ended with an error")

    # --- decisions

    async def Verify(self, request: pb.VerifyRequest, context: Any) -> pb.VerifyResponse:
        """Compare two voices."""
        async with self._calls.call("Verify", context) as facts:
            model = self._models.find(request.model)
            threshold = convert.threshold(request, model.engine.threshold)
            voices = [convert.voice(field, getattr(request, field), request.model) for field in ("enrolment", "test")]
            normalization = await self._off_loop(convert.normalization, request)
            enrolment, test = await self._resolve_all(model, voices)
            score = cosine(enrolment.vector, test.vector)
            response = pb.VerifyResponse(score=score, model=model.name, fingerprint=model.engine.fingerprint)
            decisive = score
            if normalization is not None:
                keys = [each.key for each in (enrolment, test) if each.key is not None]
                left_out = convert.names(keys, normalization.gallery)
                cohort, _ = await self._voices.cohort(model, normalization, left_out)
                sides = unit(np.stack([enrolment.vector, test.vector]))
                values = await self._off_loop(normalise, np.array([score]), sides[:1], sides[1], cohort)
                decisive = response.normalized_score = float(values[0])
                response.cohort_size = len(cohort.vectors)
            if threshold is not None:
                response.threshold = threshold
                response.is_same_speaker = decisive >= threshold
            _describe(response.enrolment, model, enrolment)
            _describe(response.test, model, test)
            _count(facts, model, [enrolment, test])
            return response
        raise AssertionError("unreachable: the call ended with an error")

    async def Identify(self, request: pb.IdentifyRequest, context: Any) -> pb.IdentifyResponse:
        """Find the speakers of a gallery who are closest to a voice."""
        async with self._calls.call("Identify", context) as facts:
            model = self._models.find(request.model)
            threshold = convert.threshold(request, model.engine.threshold)
            voice = convert.voice("voice", request.voice, request.model)
            if isinstance(voice, SpeakerKey):
                raise BadRequest("voice.speaker cannot be identified: send audio or a voiceprint")
            gallery = convert.gallery_name(request.gallery)
            count = convert.count("max_candidates", request.max_candidates, 5, convert.MAX_CANDIDATES)
            normalization = await self._off_loop(convert.normalization, request)
            resolved = await self._voices.resolve(model, voice)
            centres = await self._voices.centres(model, gallery)
            cohort, own_rows = None, -1
            if normalization is not None:
                cohort, begin = await self._voices.cohort(model, normalization)
                own_rows = begin if normalization.gallery == gallery else -1
            found = await self._off_loop(closest, centres, unit(resolved.vector), count, cohort, own_rows)
            candidates = [replies.candidate(each, threshold) for each in found]
            response = pb.IdentifyResponse(
                candidates=candidates,
                speaker_id=candidates[0].speaker_id if candidates and candidates[0].is_accepted else "",
                threshold=threshold,
                num_speakers=len(centres.ids),
                model=model.name,
                fingerprint=model.engine.fingerprint,
            )
            _describe(response.voice, model, resolved)
            _count(facts, model, [resolved])
            return response
        raise AssertionError("unreachable: the call ended with an error")

    # --- the gallery

    async def Enroll(self, request: pb.EnrollRequest, context: Any) -> pb.EnrollResponse:
        """Add voices to a speaker."""
        async with self._calls.call("Enroll", context) as facts:
            model = self._models.find(request.model)
            asked = convert.enrolment(request)
            voices = await self._resolve_all(model, asked.voices)
            entry, consistency = await self._gallery.call(
                GalleryStore.enroll,
                asked.key.gallery,
                asked.key.speaker_id,
                model.space,
                [StoredVoice(each.vector, each.speech_s) for each in voices],
                time.time_ns() // 1_000_000,
                asked.metadata,
                asked.replace,
                asked.min_consistency,
            )
            _count(facts, model, voices)
            response = pb.EnrollResponse(speaker=replies.entry(entry), consistency=consistency)
            for each in voices:
                _describe(response.voices.add(), model, each)
            return response
        raise AssertionError("unreachable: the call ended with an error")

    async def ListSpeakers(self, request: pb.ListSpeakersRequest, context: Any) -> pb.ListSpeakersResponse:
        """List a gallery, a page at a time."""
        async with self._calls.call("ListSpeakers", context):
            size = convert.count("page_size", request.page_size, 100, convert.MAX_PAGE)
            gallery = convert.gallery_name(request.gallery)
            entries, total = await self._gallery.call(GalleryStore.entries, gallery, request.page_token, size + 1)
            page = entries[:size]
            return pb.ListSpeakersResponse(
                speakers=[replies.entry(each) for each in page],
                next_page_token=page[-1].speaker_id if len(entries) > size else "",
                num_speakers=total,
            )
        raise AssertionError("unreachable: the call ended with an error")

    async def DeleteSpeaker(self, request: pb.DeleteSpeakerRequest, context: Any) -> pb.DeleteSpeakerResponse:
        """Forget a speaker."""
        async with self._calls.call("DeleteSpeaker", context):
            key = convert.speaker_key("", request.speaker_id, request.gallery)
            num_voices = await self._gallery.call(GalleryStore.delete, key.gallery, key.speaker_id)
            return pb.DeleteSpeakerResponse(num_voices=num_voices)
        raise AssertionError("unreachable: the call ended with an error")

    async def _resolve_all(self, model: ServedSpeaker, voices: Any) -> list[ResolvedVoice]:
        """All voices of a call, side by side; the first that fails ends the others."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._voices.resolve(model, each)) for each in voices]
        return [task.result() for task in tasks]

    async def _off_loop(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._decoding, work, *args)


def _describe(message: pb.EmbedResponse, model: ServedSpeaker, voice: ResolvedVoice) -> None:
    """Say what is known of a voice that came as audio."""
    if voice.embedded is not None:
        message.CopyFrom(replies.embedded(model, voice.embedded))


def _count(facts: dict[str, Any], model: ServedSpeaker, voices: list[ResolvedVoice]) -> None:
    seconds = sum(each.embedded.audio_s for each in voices if each.embedded is not None)
    facts.update(model=model.name, audio_s=round(seconds, 3))
