"""What a request says about whose words they are, from proto to domain values, with the wire's limits."""

from __future__ import annotations

from protos import recognizer_pb2 as pb
from server.errors import BadRequest
from server.options import SpeakerTagOptions

MAX_SPEAKERS = 100
_COUNTS = ("min_speaker_count", "max_speaker_count", "speaker_count")


def speaker_tag_options(config: pb.SpeakerDiarizationConfig) -> SpeakerTagOptions | None:
    """Read who is to be told apart; None where nobody is. Raises BadRequest naming the field and what is allowed."""
    least, most, exact = (_count(config, name) for name in _COUNTS)
    if not config.enable_speaker_diarization:
        _refuse_without_effect(config)
        return None
    if exact and (least or most):
        raise BadRequest(
            "diarization_config.speaker_count cannot be asked for beside min_speaker_count or max_speaker_count"
        )
    if most and least > most:
        raise BadRequest(
            f"diarization_config.max_speaker_count is {most}; allowed: min_speaker_count, {least}, or more"
        )
    return SpeakerTagOptions(config.model, exact or least or None, exact or most or None)


def refuse_speaker_tags(config: pb.SpeakerDiarizationConfig) -> None:
    """For streams. Raises BadRequest where speakers are to be told apart."""
    if config.enable_speaker_diarization:
        raise BadRequest(
            "diarization_config: a stream's words get no speaker tags, as speakers are told apart by the whole "
            "recording; use Recognize"
        )


def _count(config: pb.SpeakerDiarizationConfig, name: str) -> int:
    value: int = getattr(config, name)
    if not 0 <= value <= MAX_SPEAKERS:
        raise BadRequest(f"diarization_config.{name} is {value}; allowed: 0 to {MAX_SPEAKERS}")
    return value


def _refuse_without_effect(config: pb.SpeakerDiarizationConfig) -> None:
    for name in (*_COUNTS, "model"):
        if getattr(config, name):
            raise BadRequest(f"diarization_config.{name} has no meaning without enable_speaker_diarization")
