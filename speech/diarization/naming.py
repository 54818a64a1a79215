"""Names for a recording's speakers from enrolled ones, each used once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from speech.diarization.graph import Vectors, unit_rows


@dataclass(frozen=True, slots=True)
class Name:
    """A row of the enrolled speakers, and how like it the voice is, as cosine."""

    row: int
    score: float


def name_speakers(speakers: Vectors, enrolled: Vectors, threshold: float) -> list[Name | None]:
    """Match mean vectors (k, dim) to enrolled ones (m, dim): the pairs of greatest total above `threshold`.

    Speakers whom nobody reaches stay without a name.
    """
    names: list[Name | None] = [None] * len(speakers)
    if not len(speakers) or not len(enrolled):
        return names
    scores = np.clip(unit_rows(speakers) @ unit_rows(enrolled).T, -1.0, 1.0).astype(np.float64)
    gains = np.where(scores >= threshold, scores - threshold + 1e-6, 0.0)
    for speaker, row in zip(*linear_sum_assignment(-gains), strict=True):
        if gains[speaker, row] > 0:
            names[speaker] = Name(int(row), float(scores[speaker, row]))
    return names
