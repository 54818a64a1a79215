"""Messages of the Speaker service to domain values. Every limit of the wire is checked here and named in the complaint.

The way back is `server/speaker/replies.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from protos import recognizer_pb2 as recognizer
from protos import speaker_pb2 as pb
from server import convert
from server.errors import BadRequest
from server.options import MAX_CHANNELS
from server.ranges import finite_in_range, in_range
from server.speaker.options import (
    AudioOptions,
    EmbedOptions,
    Enrolment,
    Normalization,
    Region,
    SpeakerKey,
    Voice,
    VoiceAudio,
    Voiceprint,
)
from speech.verification.cohort import DEFAULT_TOP_N, MIN_COHORT

DEFAULT_VAD_THRESHOLD = 0.5
DEFAULT_GALLERY = "default"
MAX_VOICES = 64
MAX_NAME = 128
MAX_METADATA = (32, 4096)  # entries, bytes together
MAX_COHORT = 10_000
MAX_CANDIDATES = 1000
MAX_PAGE = 1000
_NAME_MARKS = frozenset("._-@:/+ ")


def audio_options(config: pb.SpeakerAudioConfig) -> AudioOptions:
    """Check how the call's bytes are to be read. Raises BadRequest naming the field and what is allowed."""
    audio = convert.audio_format(
        recognizer.RecognitionConfig(
            encoding=config.encoding,
            sample_rate_hertz=config.sample_rate_hertz,
            audio_channel_count=config.audio_channel_count,
        )
    )
    most = audio.channels or MAX_CHANNELS
    channel = in_range("channel", config.channel, 0, most)
    start = in_range("region.start_ms", config.region.start_ms, 0, 2**31 - 1)
    end = config.region.end_ms
    if end != 0 and end <= start:
        raise BadRequest(f"region.end_ms is {end}; allowed: above start_ms ({start}), or 0 for the audio's end")
    return AudioOptions(audio, channel, Region(start, end or None))


def embed_options(options: pb.EmbeddingOptions) -> EmbedOptions:
    """Check what is asked before and after the network."""
    threshold = finite_in_range("vad_threshold", options.vad_threshold, 0.0, 0.99) or DEFAULT_VAD_THRESHOLD
    return EmbedOptions(
        trim_silence=options.trim_silence,
        vad_threshold=threshold,
        normalize=options.normalize,
        min_speech_ms=in_range("min_speech_ms", options.min_speech_ms, 0, 60_000),
    )


def voice(field: str, message: pb.Voice, model: str) -> Voice:
    """Read one voice; `model` is what the request named, which its audio may not contradict."""
    match message.WhichOneof("voice"):
        case "audio":
            named = message.audio.config.model
            if named not in ("", model):
                raise BadRequest(f"{field}.audio.config.model is {named!r}, but the request's model is {model!r}")
            options = embed_options(message.audio.options)
            return VoiceAudio(audio_options(message.audio.config), options, message.audio.content)
        case "voiceprint":
            return voiceprint(f"{field}.voiceprint", message.voiceprint)
        case "speaker":
            return speaker_key(f"{field}.speaker", message.speaker.speaker_id, message.speaker.gallery)
        case _:
            raise BadRequest(f"{field} carries neither audio nor voiceprint nor speaker")


def voiceprint(field: str, message: pb.Voiceprint) -> Voiceprint:
    """Read a vector; its size is checked against the model's later."""
    vector = np.array(message.embedding, np.float32)
    if not len(vector):
        raise BadRequest(f"{field}.embedding is empty")
    if not np.isfinite(vector).all() or not vector.any():
        raise BadRequest(f"{field}.embedding must hold finite numbers, not all of them zero")
    if not message.fingerprint:
        raise BadRequest(f"{field}.fingerprint is empty: send the one that came with the vector")
    return Voiceprint(vector, message.fingerprint)


def enrolment(request: pb.EnrollRequest) -> Enrolment:
    """Read an enrolment."""
    if not 1 <= len(request.voices) <= MAX_VOICES:
        raise BadRequest(f"{len(request.voices)} voices; allowed: 1 to {MAX_VOICES}")
    voices = tuple(voice(f"voices[{index}]", each, request.model) for index, each in enumerate(request.voices))
    for index, each in enumerate(voices):
        if isinstance(each, SpeakerKey):
            raise BadRequest(f"voices[{index}].speaker cannot be enrolled: send audio or a voiceprint")
    least = -1.0
    if request.HasField("min_consistency"):
        least = finite_in_range("min_consistency", request.min_consistency, -1.0, 1.0)
    return Enrolment(
        key=speaker_key("", request.speaker_id, request.gallery),
        voices=voices,
        replace=request.replace,
        metadata=_metadata(request.metadata),
        min_consistency=least,
    )


def normalization(request: pb.VerifyRequest | pb.IdentifyRequest) -> Normalization | None:
    """Read the cohort, None where there is none."""
    if not request.HasField("normalization"):
        return None
    message = request.normalization
    top_n = message.top_n or DEFAULT_TOP_N
    if not MIN_COHORT <= top_n <= MAX_COHORT:
        raise BadRequest(f"normalization.top_n is {top_n}; allowed: {MIN_COHORT} to {MAX_COHORT}, or 0")
    if len(message.cohort) > MAX_COHORT:
        raise BadRequest(f"normalization.cohort has {len(message.cohort)} vectors; allowed: up to {MAX_COHORT}")
    cohort = tuple(voiceprint(f"normalization.cohort[{index}]", each) for index, each in enumerate(message.cohort))
    gallery = _name("normalization.gallery", message.gallery) if message.gallery else ""
    if not gallery and len(cohort) < MIN_COHORT:
        raise BadRequest(f"normalization.cohort has {len(cohort)} vectors; needed: {MIN_COHORT} or more, or a gallery")
    return Normalization(cohort, gallery, top_n)


def threshold(request: pb.VerifyRequest | pb.IdentifyRequest, model_threshold: float) -> float | None:
    """The threshold that decides: the request's; without one the model's, which says nothing of normalised scores."""
    if request.HasField("threshold"):
        limit = 100.0 if request.HasField("normalization") else 1.0
        return finite_in_range("threshold", request.threshold, -limit, limit)
    return None if request.HasField("normalization") else model_threshold


def speaker_key(field: str, speaker_id: str, gallery: str) -> SpeakerKey:
    """Check a speaker's and a gallery's name."""
    prefix = f"{field}." if field else ""
    return SpeakerKey(gallery_name(gallery, f"{prefix}gallery"), _name(f"{prefix}speaker_id", speaker_id))


def gallery_name(gallery: str, field: str = "gallery") -> str:
    """Check a gallery's name; none is the default one."""
    return _name(field, gallery) if gallery else DEFAULT_GALLERY


def count(field: str, value: int, default: int, most: int) -> int:
    """Check a count for which 0 means `default`."""
    return in_range(field, value, 0, most) or default


def _name(field: str, text: str) -> str:
    is_fine = all(mark.isalnum() or mark in _NAME_MARKS for mark in text) and text == text.strip(" ")
    if not (is_fine and 1 <= len(text) <= MAX_NAME):
        raise BadRequest(
            f"{field} is {text[:MAX_NAME]!r}; allowed: 1 to {MAX_NAME} letters, digits, . _ - @ : / + and spaces inside"
        )
    return text


def _metadata(entries: Mapping[str, str]) -> dict[str, str]:
    most, most_bytes = MAX_METADATA
    size = sum(len(part.encode()) for entry in entries.items() for part in entry)
    if len(entries) > most or size > most_bytes:
        raise BadRequest(
            f"metadata has {len(entries)} entries, {size} bytes; allowed: {most} entries, {most_bytes} bytes"
        )
    return dict(entries)


def names(keys: Iterable[SpeakerKey], gallery: str) -> set[str]:
    """The ids among `keys` that belong to `gallery`."""
    return {key.speaker_id for key in keys if key.gallery == gallery}
