"""The asyncio client of the Speaker service. Enrol somebody, and ask whether a recording is of the same voice:

    import asyncio
    from client import AsyncSpeakerClient, Enrolled

    async def main() -> None:
        async with AsyncSpeakerClient("127.0.0.1:8001") as client:
            await client.enroll(Enrolled("ann"), ["ann-1.wav", "ann-2.wav"])
            answer = await client.verify(Enrolled("ann"), "somebody.wav")
            print(f"{answer.score:.2f}", "ann" if answer.is_same else "somebody else")

    asyncio.run(main())

`client/speaker/sync.py` has the same for programs without an event loop.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import grpc

from client.calling import AsyncConnection
from client.connection import Metadata
from client.errors import CallFailed
from client.packets import LARGEST_MESSAGE
from client.speaker import messages, values
from client.speaker.values import Audio, Cohort, Enrolled, Voice, VoiceConfig
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc

PAGE = 1000


class AsyncSpeakerClient(AsyncConnection):
    """Speakers over a connection to one server; arguments, retries and errors are those of AsyncConnection."""

    @cached_property
    def _stub(self) -> Any:
        stub: Any = speaker_pb2_grpc.SpeakerStub
        return stub(self._channel)

    async def embed(
        self,
        audio: Audio,
        config: VoiceConfig | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> values.Embedding:
        """Turn a recording into a vector. Raises CallFailed, OSError."""
        request = messages.embed_request(await _read(audio), config or VoiceConfig())
        return messages.embedding(await self._call(self._stub.Embed, request, timeout_s, metadata))

    async def embed_stream(
        self,
        packets: Iterable[bytes] | AsyncIterable[bytes],
        config: VoiceConfig | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> values.Embedding:
        """Turn audio that comes in packets, of any length, into a vector. Called once: it is not made again.

        A sync iterable is read on the loop's thread: give it data, not waits. Raises CallFailed, and what `packets`
        raises.
        """
        failure: list[Exception] = []
        requests = _requests(packets, config or VoiceConfig(), failure)
        call = self._stub.EmbedStream(requests, timeout=self._deadline(timeout_s).left(), metadata=self._join(metadata))
        try:
            return messages.embedding(await call)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            if failure:
                raise failure[0] from None
            if isinstance(error, grpc.aio.AioRpcError):
                raise CallFailed.of(error) from error
            raise
        finally:
            call.cancel()

    async def verify(
        self,
        enrolment: Voice,
        test: Voice,
        config: VoiceConfig | None = None,
        *,
        threshold: float | None = None,
        cohort: Cohort | None = None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> values.Verification:
        """Compare two voices; `config` is for those that are audio. Raises CallFailed, OSError."""
        config = config or VoiceConfig()
        voices = [await _voice(each, config) for each in (enrolment, test)]
        request = messages.verify_request(voices[0], voices[1], config.model, threshold, cohort)
        return messages.verification(await self._call(self._stub.Verify, request, timeout_s, metadata))

    async def enroll(
        self,
        speaker: Enrolled,
        voices: Sequence[Voice],
        config: VoiceConfig | None = None,
        *,
        replace: bool = False,
        details: Mapping[str, str] | None = None,
        min_consistency: float | None = None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> values.Enrolment:
        """Add voices to a speaker; `details` are kept with them. Raises CallFailed, OSError."""
        config = config or VoiceConfig()
        given = [await _voice(each, config) for each in voices]
        request = messages.enroll_request(speaker, given, config.model, replace, details, min_consistency)
        return messages.enrolment(await self._call(self._stub.Enroll, request, timeout_s, metadata))

    async def identify(
        self,
        voice: Voice,
        config: VoiceConfig | None = None,
        *,
        gallery: str = "",
        count: int = 5,
        threshold: float | None = None,
        cohort: Cohort | None = None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> values.Identification:
        """Find the `count` speakers of a gallery who are closest to a voice. Raises CallFailed, OSError."""
        config = config or VoiceConfig()
        given = await _voice(voice, config)
        request = messages.identify_request(given, gallery, config.model, count, threshold, cohort)
        return messages.identification(await self._call(self._stub.Identify, request, timeout_s, metadata))

    async def speakers(
        self, gallery: str = "", *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> AsyncIterator[values.SpeakerEntry]:
        """Give everybody of a gallery, in the order of their ids. Raises CallFailed."""
        request = pb.ListSpeakersRequest(gallery=gallery, page_size=PAGE)
        while True:
            page = await self._call(self._stub.ListSpeakers, request, timeout_s, metadata)
            for each in page.speakers:
                yield messages.entry(each)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def delete(self, speaker: Enrolled, *, timeout_s: float | None = None, metadata: Metadata = ()) -> int:
        """Forget a speaker and return how many vectors that were. Raises CallFailed."""
        request = pb.DeleteSpeakerRequest(speaker_id=speaker.speaker_id, gallery=speaker.gallery)
        response = await self._call(self._stub.DeleteSpeaker, request, timeout_s, metadata)
        return int(response.num_voices)

    async def models(
        self, *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> tuple[values.SpeakerModel, ...]:
        """List the server's speaker models. Raises CallFailed."""
        request = pb.ListSpeakerModelsRequest()
        response = await self._call(self._stub.ListSpeakerModels, request, timeout_s, metadata)
        return tuple(messages.speaker_model(info) for info in response.models)


async def _read(audio: Audio) -> bytes:
    return audio if isinstance(audio, bytes) else await asyncio.to_thread(messages.content_of, audio)


async def _voice(voice: Voice, config: VoiceConfig) -> pb.Voice:
    if isinstance(voice, values.Voiceprint | Enrolled):
        return messages.stored_voice(voice)
    return messages.audio_voice(await _read(voice), config)


async def _requests(
    packets: Iterable[bytes] | AsyncIterable[bytes], config: VoiceConfig, failure: list[Exception]
) -> AsyncIterator[pb.EmbedStreamRequest]:
    """Give a stream's messages; keep what the source raises, which gRPC would only log."""
    yield messages.stream_config(config)
    try:
        if isinstance(packets, AsyncIterable):
            async for packet in packets:
                for request in cut(packet):
                    yield request
        else:
            for packet in packets:
                for request in cut(packet):
                    yield request
    except Exception as error:
        failure.append(error)
        raise


def cut(packet: bytes) -> Iterable[pb.EmbedStreamRequest]:
    """Give a packet as messages that any server takes."""
    for start in range(0, len(packet), LARGEST_MESSAGE):
        yield pb.EmbedStreamRequest(audio_content=packet[start : start + LARGEST_MESSAGE])
