"""The client of the Speaker service for programs without an event loop. Who of the gallery is it?

    from client import Enrolled, SpeakerClient

    with SpeakerClient("127.0.0.1:8001") as client:
        client.enroll(Enrolled("ann"), ["ann-1.wav", "ann-2.wav"])
        answer = client.identify("somebody.wav")
        for each in answer.candidates:
            print(f"{each.speaker_id} {each.score:.2f}", "accepted" if each.is_accepted else "too far")

All methods may be called from any thread.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import grpc

from client.calling import Connection
from client.connection import Metadata
from client.errors import CallFailed
from client.speaker import messages, values
from client.speaker.client import PAGE, cut
from client.speaker.values import Audio, Cohort, Enrolled, Voice, VoiceConfig
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc


class SpeakerClient(Connection):
    """Speakers over a connection to one server; arguments, retries and errors are those of AsyncSpeakerClient."""

    @cached_property
    def _stub(self) -> Any:
        stub: Any = speaker_pb2_grpc.SpeakerStub
        return stub(self._channel)

    def embed(
        self,
        audio: Audio,
        config: VoiceConfig | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> values.Embedding:
        """Turn a recording into a vector. Raises CallFailed, OSError."""
        request = messages.embed_request(messages.content_of(audio), config or VoiceConfig())
        return messages.embedding(self._call(self._stub.Embed, request, timeout_s, metadata))

    def embed_stream(
        self,
        packets: Iterable[bytes],
        config: VoiceConfig | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> values.Embedding:
        """Turn audio that comes in packets, of any length, into a vector. Called once: it is not made again.

        `packets` is read on a thread of gRPC's. Raises CallFailed, and what `packets` raises.
        """
        failure: list[Exception] = []
        requests = _requests(packets, config or VoiceConfig(), failure)
        try:
            response = self._stub.EmbedStream(
                requests, timeout=self._deadline(timeout_s).left(), metadata=self._join(metadata)
            )
        except grpc.RpcError as error:
            if failure:
                raise failure[0] from None
            raise CallFailed.of(error) from error
        if failure:
            raise failure[0]
        return messages.embedding(response)

    def verify(
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
        voices = [_voice(each, config) for each in (enrolment, test)]
        request = messages.verify_request(voices[0], voices[1], config.model, threshold, cohort)
        return messages.verification(self._call(self._stub.Verify, request, timeout_s, metadata))

    def enroll(
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
        given = [_voice(each, config) for each in voices]
        request = messages.enroll_request(speaker, given, config.model, replace, details, min_consistency)
        return messages.enrolment(self._call(self._stub.Enroll, request, timeout_s, metadata))

    def identify(
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
        given = _voice(voice, config)
        request = messages.identify_request(given, gallery, config.model, count, threshold, cohort)
        return messages.identification(self._call(self._stub.Identify, request, timeout_s, metadata))

    def speakers(
        self, gallery: str = "", *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> Iterator[values.SpeakerEntry]:
        """Give everybody of a gallery, in the order of their ids. Raises CallFailed."""
        request = pb.ListSpeakersRequest(gallery=gallery, page_size=PAGE)
        while True:
            page = self._call(self._stub.ListSpeakers, request, timeout_s, metadata)
            yield from (messages.entry(each) for each in page.speakers)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def delete(self, speaker: Enrolled, *, timeout_s: float | None = None, metadata: Metadata = ()) -> int:
        """Forget a speaker and return how many vectors that were. Raises CallFailed."""
        request = pb.DeleteSpeakerRequest(speaker_id=speaker.speaker_id, gallery=speaker.gallery)
        return int(self._call(self._stub.DeleteSpeaker, request, timeout_s, metadata).num_voices)

    def models(self, *, timeout_s: float | None = None, metadata: Metadata = ()) -> tuple[values.SpeakerModel, ...]:
        """List the server's speaker models. Raises CallFailed."""
        response = self._call(self._stub.ListSpeakerModels, pb.ListSpeakerModelsRequest(), timeout_s, metadata)
        return tuple(messages.speaker_model(info) for info in response.models)


def _voice(voice: Voice, config: VoiceConfig) -> pb.Voice:
    if isinstance(voice, values.Voiceprint | Enrolled):
        return messages.stored_voice(voice)
    return messages.audio_voice(messages.content_of(voice), config)


def _requests(
    packets: Iterable[bytes], config: VoiceConfig, failure: list[Exception]
) -> Iterator[pb.EmbedStreamRequest]:
    """Give a stream's messages. A failing source ends them early: raising would only make gRPC log a traceback."""
    yield messages.stream_config(config)
    try:
        for packet in packets:
            yield from cut(packet)
    except Exception as error:
        failure.append(error)
