"""What one call asked for, checked and in domain terms: no proto below this line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.options import AudioFormat
from speech.verification.vectors import Vectors


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the audio in milliseconds; `end_ms` None is the audio's end."""

    start_ms: int = 0
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AudioOptions:
    """How bytes become one channel: `channel` counts from 1, 0 is the mean of all."""

    audio: AudioFormat
    channel: int = 0
    region: Region = Region()


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """What is done before and after the network."""

    trim_silence: bool = False
    vad_threshold: float = 0.5
    normalize: bool = False
    min_speech_ms: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class VoiceAudio:
    """A voice as audio."""

    options: AudioOptions
    embedding: EmbedOptions
    content: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Voiceprint:
    """A voice as a vector (dimension,) float32 and what it is comparable with."""

    embedding: Vectors
    fingerprint: str


@dataclass(frozen=True, slots=True)
class SpeakerKey:
    """A voice as somebody enrolled."""

    gallery: str
    speaker_id: str


Voice = VoiceAudio | Voiceprint | SpeakerKey


@dataclass(frozen=True, slots=True, eq=False)
class Normalization:
    """The cohort of AS-norm: vectors that came with the call, and a gallery ("" for none)."""

    voiceprints: tuple[Voiceprint, ...]
    gallery: str
    top_n: int


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """One enrolment."""

    key: SpeakerKey
    voices: tuple[Voice, ...]
    replace: bool
    metadata: Mapping[str, str]
    min_consistency: float
