"""Who of a gallery is closest to a voice. Pure, and blocking for large galleries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.gallery.store import Centres
from speech.verification.cohort import Cohort, normalise
from speech.verification.vectors import Vectors


@dataclass(frozen=True, slots=True)
class Found:
    """One speaker: the cosine, and the AS-norm score where there was a cohort."""

    speaker_id: str
    score: float
    normalized: float | None = None

    @property
    def decisive(self) -> float:
        """The score that thresholds apply to."""
        return self.score if self.normalized is None else self.normalized


def closest(
    centres: Centres, voice: Vectors, count: int, cohort: Cohort | None = None, own_rows: int = -1
) -> list[Found]:
    """Return the `count` speakers most like `voice`, (dimension,) of length 1, best first; equals in order of ids.

    `own_rows`: the cohort's row from which on its rows are those of `centres`, -1 for none (see `normalise`).
    Raises BadOption for a cohort that cannot normalise.
    """
    if not centres.ids:
        return []
    scores = np.clip(centres.centres @ voice, -1.0, 1.0).astype(np.float64)
    normalised = None if cohort is None else normalise(scores, centres.centres, voice, cohort, own_rows)
    ranked = np.argsort(-(scores if normalised is None else normalised), kind="stable")[:count]
    return [
        Found(centres.ids[row], float(scores[row]), None if normalised is None else float(normalised[row]))
        for row in ranked
    ]
