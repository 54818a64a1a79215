"""The second half of a diarization, when all pieces have their embeddings: cluster, redraw, smooth, number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from speech.diarization.clustering import centroids, cluster
from speech.diarization.graph import Check, Vectors, no_check, unit_rows
from speech.diarization.options import DiarizationOptions
from speech.diarization.powerset import LocalTracks, overlapped_turns
from speech.diarization.resegmentation import confidences, resegmented
from speech.diarization.turns import Turn, smoothed, turns_of
from speech.diarization.vad import Region

Stage = Literal["clustering", "segmenting"]


@dataclass(frozen=True, slots=True, eq=False)
class Diarization:
    """Turns in order of their beginnings, and each speaker's unit mean vector, (speakers, dim)."""

    turns: tuple[Turn, ...]
    speakers: Vectors


def diarize(
    pieces: Sequence[Region],
    embeddings: Vectors,
    options: DiarizationOptions,
    *,
    num_samples: int,
    windows: Sequence[LocalTracks] = (),
    check: Check = no_check,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> Diarization:
    """Say who spoke when, from pieces in order of time and their embeddings (n, dim) float32.

    `windows` are the segmentation's, where there is one. Nothing in, nothing out. `check` is called often and may
    raise, which ends the work; `on_stage` is told what begins. Speakers are numbered by first appearance.
    """
    if not pieces:
        return Diarization((), np.zeros((0, embeddings.shape[1] if embeddings.ndim == 2 else 0), np.float32))
    on_stage("clustering")
    units = unit_rows(embeddings)
    labels = cluster(
        units,
        options.clustering,
        min_speakers=options.min_speakers,
        max_speakers=options.max_speakers,
        check=check,
    )
    on_stage("segmenting")
    if options.turns.resegments:
        labels = resegmented(units, labels, pieces, options.turns.switch_cost)
    turns = turns_of(pieces, labels, confidences(units, labels))
    if windows:
        turns = overlapped_turns(turns, windows, num_samples, check)
    return _numbered(smoothed(turns, options.turns), centroids(units, labels))


def _numbered(turns: Sequence[Turn], vectors: Vectors) -> Diarization:
    """Number speakers by first appearance; one whose turns were all dropped leaves no hole."""
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers))
    return Diarization(tuple(replace(turn, speaker=numbers[turn.speaker]) for turn in turns), vectors[list(numbers)])
