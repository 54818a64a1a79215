"""Who spoke when to messages of the Speaker service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protos import speaker_pb2 as pb
from server.speaker.diarize_convert import Asked
from server.speaker.diarizing import Diarized, Progress, Stage
from server.speaker.models import ServedSpeaker
from speech.diarization.turns import Turn

STAGES: dict[Stage, pb.DiarizationProgress.Stage] = {
    "listening": pb.DiarizationProgress.LISTENING,
    "embedding": pb.DiarizationProgress.EMBEDDING,
    "clustering": pb.DiarizationProgress.CLUSTERING,
    "segmenting": pb.DiarizationProgress.SEGMENTING,
}


@dataclass(frozen=True, slots=True)
class Named:
    """An enrolled speaker's id, and the cosine."""

    speaker_id: str
    score: float


def result(
    model: ServedSpeaker, asked: Asked, start_ms: int, done: Diarized, names: Sequence[Named | None]
) -> pb.DiarizeResponse:
    """The whole answer; times count from the first sample sent, so the region's `start_ms` is added."""
    response = pb.DiarizeResponse(
        audio_seconds=done.audio_s,
        speech_seconds=done.speech_s,
        model=model.name,
        fingerprint=model.engine.fingerprint,
        num_windows=done.num_windows,
        filled_share=done.filled_share,
    )
    for turn in done.diarization.turns:
        response.segments.append(_segment(turn, start_ms))
    for speaker, vector in enumerate(done.diarization.speakers):
        own = [turn.duration_s for turn in done.diarization.turns if turn.speaker == speaker]
        message = response.speakers.add(speaker=speaker, seconds=sum(own), num_segments=len(own))
        if asked.returns_embeddings:
            message.embedding.extend(vector.tolist())
        name = names[speaker] if names else None
        if name is not None:
            message.speaker_id, message.name_score = name.speaker_id, name.score
    return response


def progress(state: Progress) -> pb.DiarizeStreamResponse:
    """One message of how far it is."""
    return pb.DiarizeStreamResponse(
        progress=pb.DiarizationProgress(
            stage=STAGES[state.stage],
            audio_seconds=state.audio_s,
            speech_seconds=state.speech_s,
            windows_done=state.windows_done,
            windows_total=state.windows_total,
        )
    )


def _segment(turn: Turn, start_ms: int) -> pb.DiarizationSegment:
    return pb.DiarizationSegment(
        start_ms=start_ms + round(turn.begin_s * 1000),
        end_ms=start_ms + round(turn.end_s * 1000),
        speaker=turn.speaker,
        is_overlap=turn.overlaps,
        confidence=turn.confidence,
    )
