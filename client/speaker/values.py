"""What a caller gives and gets: voices, vectors, scores, enrolled speakers. No proto type leaves this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from client.config import EncodingName

Vector: TypeAlias = npt.NDArray[np.float32]
"""(dimension,) float32."""
Level: TypeAlias = Literal["good", "fair", "poor", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceConfig:
    """How audio is to be read and embedded.

    Audio with a header (WAV, FLAC, Ogg, MP3) needs no `encoding`, `sample_rate` or `channels`. `channel` counts from 1,
    0 is the mean of all. `trim_silence` needs a voice activity model on the server. Times in milliseconds; `end_ms` 0
    is the end.
    """

    encoding: EncodingName = "auto"
    sample_rate: int = 0
    channels: int = 0
    channel: int = 0
    model: str = ""
    start_ms: int = 0
    end_ms: int = 0
    trim_silence: bool = False
    vad_threshold: float = 0.0
    normalize: bool = False
    min_speech_ms: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Voiceprint:
    """A vector and what it is comparable with. Keep both."""

    vector: Vector
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Quality:
    """How far a vector can be trusted; see EmbeddingQuality in protos/speaker.proto."""

    level: Level
    snr_db: float
    clipped_share: float
    level_db: float


@dataclass(frozen=True, slots=True, eq=False)
class Embedding(Voiceprint):
    """A voiceprint with what it was made of; seconds of the audio and of what of it went through the network."""

    model: str
    audio_s: float
    speech_s: float
    quality: Quality
    num_windows: int = 1
    filled_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Somebody of a gallery."""

    speaker_id: str
    gallery: str = ""


Audio: TypeAlias = bytes | str | Path
"""A recording: its bytes, or the path of a file."""
Voice: TypeAlias = Audio | Voiceprint | Enrolled


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Other speakers, whose scores normalise the one asked for (AS-norm): vectors, a gallery, or both."""

    voiceprints: tuple[Voiceprint, ...] = ()
    gallery: str = ""
    top_n: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """`score` is the cosine; `normalized` the AS-norm score where a cohort was given; `is_same` None undecided."""

    score: float
    normalized: float | None
    threshold: float | None
    is_same: bool | None
    model: str
    fingerprint: str
    enrolment: Embedding | None = None
    test: Embedding | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One speaker of a search."""

    speaker_id: str
    score: float
    normalized: float | None
    is_accepted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """Candidates, best first; `speaker_id` is the best one's if it reaches the threshold, else empty."""

    speaker_id: str
    candidates: tuple[Candidate, ...]
    threshold: float | None
    num_speakers: int
    voice: Embedding | None = None


@dataclass(frozen=True, slots=True)
class SpeakerEntry:
    """Somebody enrolled; times in milliseconds since 1970."""

    speaker_id: str
    gallery: str
    num_voices: int
    speech_s: float
    model: str
    fingerprint: str
    created_ms: int
    updated_ms: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """The speaker as enrolled now, and the least cosine of a voice to the mean of the others."""

    speaker: SpeakerEntry
    consistency: float
    voices: tuple[Embedding | None, ...]


@dataclass(frozen=True, slots=True)
class SpeakerModel:
    """One speaker model of a server."""

    name: str
    is_default: bool
    dimension: int
    sample_rate: int
    family: str
    fingerprint: str
    threshold: float
    min_audio_ms: int
    has_vad: bool
    has_overlap: bool
