"""The constants of a diarization, and the presets that reproduce other systems' or our own.

Sources of the presets: wenet-e2e/wespeaker dfa7419 (Triton pipeline) and modelscope/3D-Speaker 09e7806.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from speech.errors import BadOption

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Cosine = Annotated[float, Meta(ge=-1.0, le=1.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=1)]


class VadOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From speech probabilities to regions of speech; the defaults are silero's own."""

    threshold: Share = 0.5
    # Speech ends below this; None: 0.15 under the threshold, at least 0.01.
    exit_threshold: Share | None = None
    min_speech_ms: NotNegative = 250.0
    max_speech_s: Annotated[float, Meta(gt=0.0)] = float("inf")
    min_silence_ms: NotNegative = 100.0
    # A region that grows too long is cut at its longest pause above this one.
    min_silence_at_max_speech_ms: NotNegative = 98.0
    pad_ms: NotNegative = 30.0
    # WeSpeaker keeps an unfinished region at the end whatever its length.
    keeps_short_end: bool = False
    # WeSpeaker pads a region's start only at the file's beginning and next to a short gap.
    pads_starts: bool = True
    # Regions shorter than this after padding are dropped.
    min_region_ms: NotNegative = 0.0

    @property
    def exit(self) -> float:
        return max(self.threshold - 0.15, 0.01) if self.exit_threshold is None else self.exit_threshold


class WindowOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How regions are cut into the pieces that get an embedding each."""

    window_s: Annotated[float, Meta(ge=0.1, le=60.0)] = 1.5
    period_s: Annotated[float, Meta(ge=0.05, le=60.0)] = 0.75
    # 3D-Speaker gives no piece to a region of at most window - period.
    drops_short: bool = False

    def __post_init__(self) -> None:
        if self.period_s > self.window_s:
            raise BadOption(f"period_s is {self.period_s:g}; allowed: up to window_s, {self.window_s:g}")


class AffinityOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which neighbours of a piece stay connected to it in the graph that spectral clustering cuts.

    Each row keeps its `share` of largest cosines, at least `min_kept`; itself counts. Below `small` points exactly
    `min_kept` are kept, whatever the share.
    """

    share: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.012
    min_kept: Count = 6
    small: Annotated[int, Meta(ge=0)] = 0
    # Rows of few points lose at least this many.
    min_dropped: Annotated[int, Meta(ge=0)] = 0
    # Kept neighbours weigh 1 instead of their cosine.
    is_binary: bool = False


class ClusteringOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From embeddings to speakers."""

    # Up to this many pieces are one speaker, without looking.
    single_below: Annotated[int, Meta(ge=0)] = 1
    # Fewer pieces than this are clustered by agglomeration.
    agglomerate_below: Annotated[int, Meta(ge=0)] = 40
    # Agglomeration joins clusters while their average cosine is at least this.
    agglomerative_cosine: Cosine = 0.4
    affinity: AffinityOptions = AffinityOptions()
    max_by_gap: Count = 15
    restarts: Count = 10
    # Clusters of up to this many pieces are given to the nearest larger one.
    minor_size: Annotated[int, Meta(ge=0)] = 0
    # Clusters whose centroids are at least this similar are joined; above 1: never.
    merge_cosine: Annotated[float, Meta(ge=-1.0, le=2.0)] = 2.0
    # Pieces this similar are the same recording, played again, and count once; above 1: never. Different moments of one
    # voice stayed below 0.93 (1,784 pieces of 27 conversations), repeats of one moment above 0.95.
    repeat_cosine: Annotated[float, Meta(ge=-1.0, le=2.0)] = 2.0
    # More pieces than this are first gathered into half as many groups: bounds memory and time.
    max_points: Annotated[int, Meta(ge=64)] = 2000
    seed: int = 0


class TurnOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From labelled pieces to turns."""

    # Turns of one speaker with no more than this between them become one.
    merge_gap_s: NotNegative = 0.0
    # Shorter turns are dropped.
    min_duration_s: NotNegative = 0.0
    # Pieces are assigned anew to the speakers' centroids, with this price (in cosine) for a change of speaker.
    resegments: bool = False
    switch_cost: NotNegative = 0.1


class OverlapOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the segmentation model's posteriors are used, where there is such a model."""

    is_on: bool = False
    # The clustering's speakers stand, and the segmentation adds who else talks; else it draws all speakers anew, which
    # loses much where it takes two voices for one.
    only_adds: bool = False
    step_s: Annotated[float, Meta(gt=0.0, le=10.0)] = 2.5


class DiarizationOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All constants of one diarization."""

    vad: VadOptions = VadOptions()
    windows: WindowOptions = WindowOptions()
    clustering: ClusteringOptions = ClusteringOptions()
    turns: TurnOptions = TurnOptions()
    overlap: OverlapOptions = OverlapOptions()
    # The range the number of speakers must lie in; equal ends: exactly so many.
    min_speakers: Count = 1
    max_speakers: Count | None = None

    def __post_init__(self) -> None:
        if self.max_speakers is not None and self.max_speakers < self.min_speakers:
            raise BadOption(f"max_speakers is {self.max_speakers}; allowed: min_speakers, {self.min_speakers}, or more")


PresetName = Literal["chorus", "wespeaker", "3d-speaker"]

WESPEAKER = DiarizationOptions(
    vad=VadOptions(threshold=0.36, keeps_short_end=True, pads_starts=False, min_region_ms=255.0),
    clustering=ClusteringOptions(
        single_below=2,
        agglomerate_below=0,
        affinity=AffinityOptions(share=0.01, min_kept=10, small=1000, min_dropped=2, is_binary=True),
        max_by_gap=20,
    ),
)
# Its own detector is FSMN-VAD; silero with its defaults takes that place here. Overlap is off there unless asked for.
THREE_D_SPEAKER = DiarizationOptions(
    windows=WindowOptions(drops_short=True),
    clustering=ClusteringOptions(minor_size=4, merge_cosine=0.8),
    overlap=OverlapOptions(step_s=1.0),
)
CHORUS = DiarizationOptions(
    vad=VadOptions(threshold=0.36),
    clustering=ClusteringOptions(agglomerate_below=20, merge_cosine=0.8, repeat_cosine=0.94),
    turns=TurnOptions(merge_gap_s=0.5, resegments=True),
    overlap=OverlapOptions(is_on=True, only_adds=True),
)
PRESETS: dict[str, DiarizationOptions] = {"chorus": CHORUS, "wespeaker": WESPEAKER, "3d-speaker": THREE_D_SPEAKER}


def preset(name: str) -> DiarizationOptions:
    """Raises BadOption for an unknown name."""
    try:
        return PRESETS[name]
    except KeyError:
        raise BadOption(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}") from None
