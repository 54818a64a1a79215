"""Domain values to messages of the Speaker service."""

from __future__ import annotations

from protos import speaker_pb2 as pb
from server.gallery.search import Found
from server.gallery.store import Entry
from server.speaker.embedding import Embedded
from server.speaker.models import ServedSpeaker
from speech.verification.quality import Level, Quality

LEVELS = {
    Level.GOOD: pb.EmbeddingQuality.GOOD,
    Level.FAIR: pb.EmbeddingQuality.FAIR,
    Level.POOR: pb.EmbeddingQuality.POOR,
}


def embedded(model: ServedSpeaker, result: Embedded) -> pb.EmbedResponse:
    """One vector with what it was made of."""
    return pb.EmbedResponse(
        embedding=result.vector.tolist(),
        dimension=len(result.vector),
        model=model.name,
        fingerprint=model.engine.fingerprint,
        audio_seconds=result.audio_s,
        speech_seconds=result.speech_s,
        quality=_quality(result.quality),
        num_windows=result.num_windows,
        filled_share=result.filled_share,
    )


def _quality(quality: Quality) -> pb.EmbeddingQuality:
    return pb.EmbeddingQuality(
        level=LEVELS[quality.level],
        snr_db=quality.snr_db,
        clipped_share=quality.clipped_share,
        level_db=quality.level_db,
    )


def entry(speaker: Entry) -> pb.SpeakerEntry:
    """One enrolled speaker."""
    return pb.SpeakerEntry(
        speaker_id=speaker.speaker_id,
        gallery=speaker.gallery,
        num_voices=speaker.num_voices,
        speech_seconds=speaker.speech_s,
        model=speaker.space.model,
        fingerprint=speaker.space.fingerprint,
        created_unix_ms=speaker.created_ms,
        updated_unix_ms=speaker.updated_ms,
        metadata=speaker.metadata,
    )


def candidate(found: Found, threshold: float | None) -> pb.Candidate:
    """One speaker of a search."""
    return pb.Candidate(
        speaker_id=found.speaker_id,
        score=found.score,
        normalized_score=found.normalized,
        is_accepted=threshold is not None and found.decisive >= threshold,
    )


def model_info(model: ServedSpeaker, is_default: bool) -> pb.SpeakerModelInfo:
    """One line of ListSpeakerModels."""
    engine = model.engine
    return pb.SpeakerModelInfo(
        name=model.name,
        is_default=is_default,
        dimension=engine.dimension,
        sample_rate_hertz=engine.sample_rate,
        family=model.family,
        fingerprint=engine.fingerprint,
        threshold=engine.threshold,
        min_audio_ms=-(-engine.min_samples * 1000 // engine.sample_rate),
        has_vad=model.vad is not None,
        has_overlap=model.segmentation is not None,
    )
