"""Values to messages of the Speaker service and back."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from client.config import ENCODINGS, known_encoding
from client.speaker.values import (
    Audio,
    Candidate,
    Cohort,
    Embedding,
    Enrolled,
    Enrolment,
    Identification,
    Level,
    Quality,
    SpeakerEntry,
    SpeakerModel,
    Verification,
    VoiceConfig,
    Voiceprint,
)
from protos import speaker_pb2 as pb

_LEVELS: dict[int, Level] = {
    pb.EmbeddingQuality.GOOD: "good",
    pb.EmbeddingQuality.FAIR: "fair",
    pb.EmbeddingQuality.POOR: "poor",
}


def audio_config(config: VoiceConfig) -> pb.SpeakerAudioConfig:
    """Raises BadOption for an unknown encoding."""
    return pb.SpeakerAudioConfig(
        encoding=ENCODINGS[known_encoding(config.encoding)],
        sample_rate_hertz=config.sample_rate,
        audio_channel_count=config.channels,
        channel=config.channel,
        model=config.model,
        region=pb.AudioRegion(start_ms=config.start_ms, end_ms=config.end_ms),
    )


def embedding_options(config: VoiceConfig) -> pb.EmbeddingOptions:
    """The part of a config that is about embedding."""
    return pb.EmbeddingOptions(
        trim_silence=config.trim_silence,
        vad_threshold=config.vad_threshold,
        normalize=config.normalize,
        min_speech_ms=config.min_speech_ms,
    )


def embed_request(audio: bytes, config: VoiceConfig) -> pb.EmbedRequest:
    """One whole recording."""
    return pb.EmbedRequest(config=audio_config(config), options=embedding_options(config), audio=audio)


def stream_config(config: VoiceConfig) -> pb.EmbedStreamRequest:
    """The first message of a stream."""
    first = pb.EmbedStreamConfig(config=audio_config(config), options=embedding_options(config))
    return pb.EmbedStreamRequest(config=first)


def verify_request(
    enrolment: pb.Voice, test: pb.Voice, model: str, threshold: float | None, cohort: Cohort | None
) -> pb.VerifyRequest:
    """Two voices to compare."""
    return pb.VerifyRequest(
        enrolment=enrolment, test=test, model=model, threshold=threshold, normalization=_normalization(cohort)
    )


def identify_request(
    voice: pb.Voice, gallery: str, model: str, count: int, threshold: float | None, cohort: Cohort | None
) -> pb.IdentifyRequest:
    """A voice to find."""
    return pb.IdentifyRequest(
        voice=voice,
        gallery=gallery,
        model=model,
        max_candidates=count,
        threshold=threshold,
        normalization=_normalization(cohort),
    )


def enroll_request(
    speaker: Enrolled,
    voices: Iterable[pb.Voice],
    model: str,
    replace: bool,
    metadata: Mapping[str, str] | None,
    min_consistency: float | None,
) -> pb.EnrollRequest:
    """Voices to keep."""
    return pb.EnrollRequest(
        speaker_id=speaker.speaker_id,
        gallery=speaker.gallery,
        voices=voices,
        model=model,
        replace=replace,
        metadata=metadata,
        min_consistency=min_consistency,
    )


def stored_voice(voice: Voiceprint | Enrolled) -> pb.Voice:
    """A voice that is a vector already."""
    if isinstance(voice, Enrolled):
        return pb.Voice(speaker=pb.SpeakerKey(speaker_id=voice.speaker_id, gallery=voice.gallery))
    return pb.Voice(voiceprint=_voiceprint(voice))


def audio_voice(content: bytes, config: VoiceConfig) -> pb.Voice:
    """A voice as a recording."""
    return pb.Voice(
        audio=pb.VoiceAudio(config=audio_config(config), options=embedding_options(config), content=content)
    )


def _voiceprint(voiceprint: Voiceprint) -> pb.Voiceprint:
    return pb.Voiceprint(embedding=voiceprint.vector.tolist(), fingerprint=voiceprint.fingerprint)


def _normalization(cohort: Cohort | None) -> pb.ScoreNormalization | None:
    if cohort is None:
        return None
    return pb.ScoreNormalization(
        cohort=[_voiceprint(each) for each in cohort.voiceprints], gallery=cohort.gallery, top_n=cohort.top_n
    )


def embedding(response: pb.EmbedResponse) -> Embedding:
    """Read one vector."""
    quality = response.quality
    return Embedding(
        vector=np.array(response.embedding, np.float32),
        fingerprint=response.fingerprint,
        model=response.model,
        audio_s=response.audio_seconds,
        speech_s=response.speech_seconds,
        quality=Quality(_LEVELS.get(quality.level, "unknown"), quality.snr_db, quality.clipped_share, quality.level_db),
        num_windows=response.num_windows,
        filled_share=response.filled_share,
    )


def _maybe(response: pb.EmbedResponse) -> Embedding | None:
    return embedding(response) if response.embedding else None


def verification(response: pb.VerifyResponse) -> Verification:
    """Read a comparison."""
    return Verification(
        score=response.score,
        normalized=response.normalized_score if response.HasField("normalized_score") else None,
        threshold=response.threshold if response.HasField("threshold") else None,
        is_same=response.is_same_speaker if response.HasField("is_same_speaker") else None,
        model=response.model,
        fingerprint=response.fingerprint,
        enrolment=_maybe(response.enrolment),
        test=_maybe(response.test),
    )


def identification(response: pb.IdentifyResponse) -> Identification:
    """Read a search."""
    return Identification(
        speaker_id=response.speaker_id,
        candidates=tuple(
            Candidate(
                each.speaker_id,
                each.score,
                each.normalized_score if each.HasField("normalized_score") else None,
                each.is_accepted,
            )
            for each in response.candidates
        ),
        threshold=response.threshold if response.HasField("threshold") else None,
        num_speakers=response.num_speakers,
        voice=_maybe(response.voice),
    )


def enrolment(response: pb.EnrollResponse) -> Enrolment:
    """Read what was enrolled."""
    return Enrolment(entry(response.speaker), response.consistency, tuple(_maybe(voice) for voice in response.voices))


def entry(speaker: pb.SpeakerEntry) -> SpeakerEntry:
    """Read one enrolled speaker."""
    return SpeakerEntry(
        speaker_id=speaker.speaker_id,
        gallery=speaker.gallery,
        num_voices=speaker.num_voices,
        speech_s=speaker.speech_seconds,
        model=speaker.model,
        fingerprint=speaker.fingerprint,
        created_ms=speaker.created_unix_ms,
        updated_ms=speaker.updated_unix_ms,
        metadata=dict(speaker.metadata),
    )


def speaker_model(info: pb.SpeakerModelInfo) -> SpeakerModel:
    """Read one line of the server's list of speaker models."""
    return SpeakerModel(
        name=info.name,
        is_default=info.is_default,
        dimension=info.dimension,
        sample_rate=info.sample_rate_hertz,
        family=info.family,
        fingerprint=info.fingerprint,
        threshold=info.threshold,
        min_audio_ms=info.min_audio_ms,
        has_vad=info.has_vad,
        has_overlap=info.has_overlap,
    )


def content_of(audio: Audio) -> bytes:
    """Read a recording. Raises OSError."""
    return audio if isinstance(audio, bytes) else Path(audio).read_bytes()
