"""The second half of a diarization, when all pieces have their embeddings: cluster, redraw, smooth, number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from speech.diarization.clustering import centroids, cluster
from speech.diarization.graph import Check, Vectors, no_check, unit_rows
from speech.diarization.options import DiarizationOptions
from speech.diarization.powerset import LocalTracks, overlapped_turns
from speech.diarization.resegmentation import confidences, resegmented
from speech.diarization.spectral import Labels
from speech.diarization.turns import Turn, smoothed, turns_of
from speech.diarization.vad import Region


@dataclass(frozen=True, slots=True, eq=False)
class Diarization:
    """Turns in order of their beginnings, and each speaker's unit mean vector, (speakers, dim)."""

    turns: tuple[Turn, ...]
    speakers: Vectors


def find_speakers(embeddings: Vectors, options: DiarizationOptions, check: Check = no_check) -> Labels:
    """Say which speaker each piece is, (n,), from embeddings (n, dim) float32 in order of time.

    `check` is called often and may raise, which ends the work.
    """
    return cluster(
        embeddings,
        options.clustering,
        min_speakers=options.min_speakers,
        max_speakers=options.max_speakers,
        check=check,
    )


def draw_turns(
    pieces: Sequence[Region],
    embeddings: Vectors,
    labels: Labels,
    options: DiarizationOptions,
    *,
    num_samples: int,
    windows: Sequence[LocalTracks] = (),
    check: Check = no_check,
) -> Diarization:
    """Say who spoke when, from labelled pieces; `windows` are the segmentation's, where there is one.

    Nothing in, nothing out. Speakers are numbered by first appearance. `check` may raise.
    """
    if not pieces:
        return Diarization((), np.zeros((0, embeddings.shape[1]), np.float32))
    units = unit_rows(embeddings)
    if options.turns.resegments:
        labels = resegmented(units, labels, pieces, options.turns.switch_cost)
    turns = turns_of(pieces, labels, confidences(units, labels))
    if windows:
        turns = overlapped_turns(turns, windows, num_samples, only_adds=options.overlap.only_adds, check=check)
    return _numbered(smoothed(turns, options.turns), centroids(units, labels))


def diarize(
    pieces: Sequence[Region],
    embeddings: Vectors,
    options: DiarizationOptions,
    *,
    num_samples: int,
    windows: Sequence[LocalTracks] = (),
) -> Diarization:
    """Do both in one call."""
    labels = find_speakers(embeddings, options)
    return draw_turns(pieces, embeddings, labels, options, num_samples=num_samples, windows=windows)


def _numbered(turns: Sequence[Turn], vectors: Vectors) -> Diarization:
    """Number speakers by first appearance; one whose turns were all dropped leaves no hole."""
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers))
    return Diarization(tuple(replace(turn, speaker=numbers[turn.speaker]) for turn in turns), vectors[list(numbers)])
