"""Who spoke when, asked of a server:

    import asyncio
    from client.speaker.diarization import AsyncDiarizationClient

    async def main() -> None:
        async with AsyncDiarizationClient("127.0.0.1:8001") as client:
            for turn in (await client.diarize("meeting.wav")).turns:
                print(f"{turn.begin_s:8.2f} {turn.end_s:8.2f}  {turn.speaker}")

    asyncio.run(main())

The audio is streamed, whatever its length; neither side holds more than a part of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import grpc
import numpy as np
import numpy.typing as npt

from client.calling import AsyncConnection
from client.connection import Metadata, wait_before_retry
from client.errors import CallFailed
from client.packets import LARGEST_MESSAGE, read_packets
from client.speaker.messages import audio_config
from client.speaker.values import VoiceConfig
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc

Preset: TypeAlias = Literal["chorus", "wespeaker", "3d-speaker"]
Stage: TypeAlias = Literal["listening", "embedding", "clustering", "segmenting"]
Source: TypeAlias = bytes | str | Path | Iterable[bytes]

_PRESETS = {"chorus": pb.PRESET_CHORUS, "wespeaker": pb.PRESET_WESPEAKER, "3d-speaker": pb.PRESET_3D_SPEAKER}
_STAGES: dict[int, Stage] = {
    pb.DiarizationProgress.LISTENING: "listening",
    pb.DiarizationProgress.EMBEDDING: "embedding",
    pb.DiarizationProgress.CLUSTERING: "clustering",
    pb.DiarizationProgress.SEGMENTING: "segmenting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizationConfig:
    """What is known of a recording and what is wanted; None leaves a value to the preset. Times in milliseconds.

    `speakers` is their exact number, 0 lets it be found between `min_speakers` and `max_speakers`. `overlap` None
    reports overlapping speech where the server can. `gallery` names speakers after enrolled ones.
    """

    preset: Preset = "chorus"
    speakers: int = 0
    min_speakers: int = 0
    max_speakers: int = 0
    vad_threshold: float | None = None
    cluster_threshold: float | None = None
    merge_threshold: float | None = None
    window_ms: int | None = None
    period_ms: int | None = None
    merge_gap_ms: int | None = None
    min_duration_ms: int | None = None
    overlap: bool | None = None
    gallery: str = ""
    name_threshold: float | None = None
    with_vectors: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's speech; `overlaps`: somebody else's turn shares time with it."""

    begin_s: float
    end_s: float
    speaker: str
    confidence: float
    overlaps: bool


@dataclass(frozen=True, slots=True, eq=False)
class Speaker:
    """One voice of a recording: `name` is the enrolled speaker's, or "speaker0", ... by first appearance."""

    name: str
    seconds: float
    num_turns: int
    is_enrolled: bool
    name_score: float
    vector: npt.NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Diarization:
    """Who spoke when."""

    turns: tuple[Turn, ...]
    speakers: tuple[Speaker, ...]
    audio_s: float
    speech_s: float
    model: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the server is."""

    stage: Stage
    audio_s: float
    speech_s: float
    windows_done: int
    windows_total: int


class AsyncDiarizationClient(AsyncConnection):
    """Diarization over a connection to one server; arguments, retries and errors are those of AsyncConnection."""

    @cached_property
    def _stub(self) -> Any:
        stub: Any = speaker_pb2_grpc.SpeakerStub
        return stub(self._channel)

    async def diarize(
        self,
        audio: Source,
        config: DiarizationConfig | None = None,
        voice: VoiceConfig | None = None,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> Diarization:
        """Say who spoke when in a file (a path), in bytes, or in packets of bytes, which are read on a thread.

        `voice` says how the bytes are to be read. Packets are sent once, without retries. Raises CallFailed, OSError,
        and what the packets raise.
        """
        first = _first(config or DiarizationConfig(), voice or VoiceConfig())
        deadline = self._deadline(timeout_s)
        can_repeat = isinstance(audio, bytes | str | Path)
        for delay in self._retry.delays():
            call = self._stub.DiarizeStream(
                (requests := _Requests(first, audio)).give(), timeout=deadline.left(), metadata=self._join(metadata)
            )
            try:
                return await _answer(call, requests, on_progress)
            except CallFailed as failure:
                wait_s = wait_before_retry(failure, delay, deadline, can_repeat=can_repeat)
            finally:
                call.cancel()
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt either returns or raises")


class _Requests:
    """One attempt's messages; keeps what the source raises, which gRPC would only log."""

    def __init__(self, first: pb.DiarizeStreamRequest, audio: Source) -> None:
        self.failure: Exception | None = None
        self._first = first
        self._audio = audio

    async def give(self) -> AsyncIterator[pb.DiarizeStreamRequest]:
        yield self._first
        packets = iter(_packets(self._audio))
        try:
            while (packet := await asyncio.to_thread(next, packets, None)) is not None:
                for start in range(0, len(packet), LARGEST_MESSAGE):
                    yield pb.DiarizeStreamRequest(audio_content=packet[start : start + LARGEST_MESSAGE])
        except Exception as error:
            self.failure = error
            raise


async def _answer(call: Any, requests: _Requests, on_progress: Callable[[Progress], None]) -> Diarization:
    try:
        async for message in call:
            if message.WhichOneof("streaming_response") == "result":
                return _diarization(message.result)
            on_progress(_progress(message.progress))
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
        if requests.failure is not None:
            raise requests.failure from None
        if isinstance(error, grpc.aio.AioRpcError):
            raise CallFailed.of(error) from error
        raise
    raise CallFailed(grpc.StatusCode.INTERNAL, "the server ended the call without a result")


def _packets(audio: Source) -> Iterable[bytes]:
    if isinstance(audio, bytes):
        return [audio]
    return read_packets(audio) if isinstance(audio, str | Path) else audio


def _first(config: DiarizationConfig, voice: VoiceConfig) -> pb.DiarizeStreamRequest:
    wanted = pb.DiarizationConfig(
        preset=_PRESETS[config.preset],
        num_speakers=config.speakers,
        min_speakers=config.min_speakers,
        max_speakers=config.max_speakers,
        vad_threshold=config.vad_threshold,
        cluster_threshold=config.cluster_threshold,
        merge_threshold=config.merge_threshold,
        window_ms=config.window_ms,
        period_ms=config.period_ms,
        merge_gap_ms=config.merge_gap_ms,
        min_duration_ms=config.min_duration_ms,
        overlap=config.overlap,
        gallery=config.gallery,
        name_threshold=config.name_threshold,
        return_embeddings=config.with_vectors,
    )
    return pb.DiarizeStreamRequest(config=pb.DiarizeStreamConfig(config=audio_config(voice), diarization=wanted))


def _diarization(result: pb.DiarizeResponse) -> Diarization:
    speakers = tuple(
        Speaker(
            name=each.speaker_id or f"speaker{each.speaker}",
            seconds=each.seconds,
            num_turns=each.num_segments,
            is_enrolled=bool(each.speaker_id),
            name_score=each.name_score,
            vector=np.array(each.embedding, np.float32),
        )
        for each in result.speakers
    )
    turns = tuple(
        Turn(each.start_ms / 1000, each.end_ms / 1000, speakers[each.speaker].name, each.confidence, each.is_overlap)
        for each in result.segments
    )
    return Diarization(turns, speakers, result.audio_seconds, result.speech_seconds, result.model, result.fingerprint)


def _progress(message: pb.DiarizationProgress) -> Progress:
    return Progress(
        _STAGES.get(message.stage, "listening"),
        message.audio_seconds,
        message.speech_seconds,
        message.windows_done,
        message.windows_total,
    )
