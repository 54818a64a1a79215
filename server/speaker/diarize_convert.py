"""Messages of Diarize and DiarizeStream to options. Limits are checked and named here.

The way back is `server/speaker/diarize_replies.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from protos import speaker_pb2 as pb
from server.errors import BadRequest, NoSegmentation, NoVoiceActivity
from server.ranges import in_range
from server.speaker.convert import gallery_name
from server.speaker.models import ServedSpeaker
from speech.diarization.options import PRESETS, DiarizationOptions, WindowOptions

MAX_SPEAKERS = 100
MAX_GAP_MS = 60_000
WINDOW_MS = (250, 10_000)
PRESET_NAMES = {
    pb.PRESET_UNSPECIFIED: "chorus",
    pb.PRESET_CHORUS: "chorus",
    pb.PRESET_WESPEAKER: "wespeaker",
    pb.PRESET_3D_SPEAKER: "3d-speaker",
}
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call wants: the constants, and what to say about the speakers. `gallery` "" names nobody."""

    options: DiarizationOptions
    gallery: str
    name_threshold: float
    returns_embeddings: bool


def asked(config: pb.DiarizationConfig, model: ServedSpeaker) -> Asked:
    """Check a call's options against their limits and the model.

    Raises BadRequest naming the field, NoVoiceActivity, NoSegmentation.
    """
    _require_vad(model)
    if config.preset not in PRESET_NAMES:
        raise BadRequest(f"preset is {config.preset}; allowed: {sorted(PRESET_NAMES)}")
    threshold = _number(config, "name_threshold", -1.0, 1.0)
    return Asked(
        options=_options(config, model),
        gallery=gallery_name(config.gallery) if config.gallery else "",
        name_threshold=model.engine.threshold if threshold is None else threshold,
        returns_embeddings=config.return_embeddings,
    )


def default_options(
    model: ServedSpeaker, min_speakers: int | None = None, max_speakers: int | None = None
) -> DiarizationOptions:
    """What a call gets that asks for no more than numbers of speakers. Raises NoVoiceActivity."""
    _require_vad(model)
    base = PRESETS["chorus"]
    overlap = _changed(base.overlap, is_on=base.overlap.is_on and model.segmentation is not None)
    return _changed(base, overlap=overlap, min_speakers=min_speakers, max_speakers=max_speakers)


def _require_vad(model: ServedSpeaker) -> None:
    if model.vad is None:
        raise NoVoiceActivity("diarization needs a voice activity model; `chorus models pull silero-vad` fetches one")


def _options(config: pb.DiarizationConfig, model: ServedSpeaker) -> DiarizationOptions:
    base = PRESETS[PRESET_NAMES[config.preset]]
    least, most = _speakers(config, base)
    return _changed(
        base,
        vad=_changed(base.vad, threshold=_number(config, "vad_threshold", 0.01, 0.99)),
        windows=_windows(config, base.windows, model),
        clustering=_changed(
            base.clustering,
            agglomerative_cosine=_number(config, "cluster_threshold", -1.0, 1.0),
            merge_cosine=_number(config, "merge_threshold", -1.0, 1.0),
        ),
        turns=_changed(
            base.turns,
            merge_gap_s=_seconds(config, "merge_gap_ms", 0, MAX_GAP_MS),
            min_duration_s=_seconds(config, "min_duration_ms", 0, MAX_GAP_MS),
        ),
        overlap=_changed(base.overlap, is_on=_overlap(config, base, model)),
        min_speakers=least,
        max_speakers=most,
    )


def _changed(base: S, **changes: Any) -> S:
    """A copy with those changes that are not None."""
    return msgspec.structs.replace(base, **{name: value for name, value in changes.items() if value is not None})


def _windows(config: pb.DiarizationConfig, base: WindowOptions, model: ServedSpeaker) -> WindowOptions:
    window_s = _seconds(config, "window_ms", *WINDOW_MS) or base.window_s
    period_s = _seconds(config, "period_ms", *WINDOW_MS) or min(base.period_s, window_s)
    if period_s > window_s:
        raise BadRequest(f"period_ms is {period_s * 1000:.0f}; allowed: up to window_ms, {window_s * 1000:.0f}")
    if window_s > model.window_s:
        raise BadRequest(f"window_ms is {window_s * 1000:.0f}; model {model.name} takes up to {model.window_s:g} s")
    return _changed(base, window_s=window_s, period_s=period_s)


def _speakers(config: pb.DiarizationConfig, base: DiarizationOptions) -> tuple[int, int | None]:
    """The least and the largest number of speakers."""
    exact, least, most = (
        in_range(name, getattr(config, name), 0, MAX_SPEAKERS)
        for name in ("num_speakers", "min_speakers", "max_speakers")
    )
    if exact:
        if least or most:
            raise BadRequest("num_speakers cannot be asked for beside min_speakers or max_speakers")
        return exact, exact
    if least and most and least > most:
        raise BadRequest(f"max_speakers is {most}; allowed: min_speakers, {least}, or more")
    return least or base.min_speakers, most or base.max_speakers


def _overlap(config: pb.DiarizationConfig, base: DiarizationOptions, model: ServedSpeaker) -> bool:
    """Whether overlap is reported: as asked, else as the preset has it where there is a model for it."""
    if not config.HasField("overlap"):
        return base.overlap.is_on and model.segmentation is not None
    if config.overlap and model.segmentation is None:
        raise NoSegmentation(
            "overlap needs a segmentation model; `chorus models pull pyannote-segmentation` fetches one"
        )
    return config.overlap


def _number(config: pb.DiarizationConfig, name: str, least: float, most: float) -> float | None:
    if not config.HasField(name):
        return None
    value: float = getattr(config, name)
    if not least <= value <= most:  # false for NaN, too
        raise BadRequest(f"{name} is {value:g}; allowed: {least:g} to {most:g}")
    return value


def _seconds(config: pb.DiarizationConfig, name: str, least_ms: int, most_ms: int) -> float | None:
    if not config.HasField(name):
        return None
    return in_range(name, getattr(config, name), least_ms, most_ms) / 1000
