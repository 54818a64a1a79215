"""Adaptive symmetric score normalisation (AS-norm): scores in standard deviations of what impostors reach.

After WeSpeaker's `score_norm.py`: 0.5 * ((s - me) / de + (s - mt) / dt), where m and d are mean and deviation (of the
population) of the highest `top_n` cosines of either side with a cohort of other speakers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speech.errors import BadOption
from speech.verification.vectors import Vectors

DEFAULT_TOP_N = 100
MIN_COHORT = 2
_ROWS = 1024  # rows of cosines in memory at a time
_NO_SCORE = -np.inf

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Other speakers: `vectors` (n, dimension) float32 of length 1, and how many of the closest count."""

    vectors: Vectors
    top_n: int = DEFAULT_TOP_N

    def __post_init__(self) -> None:
        if len(self.vectors) < MIN_COHORT:
            raise BadOption(f"a cohort of {len(self.vectors)} vectors: {MIN_COHORT} or more are needed")
        if self.top_n < MIN_COHORT:
            raise BadOption(f"top_n is {self.top_n}: {MIN_COHORT} or more are needed")


def normalise(scores: Floats, enrolment: Vectors, test: Vectors, cohort: Cohort, own_rows: int = -1) -> Floats:
    """AS-norm of n scores: `enrolment` (n, dimension) against one `test` (dimension,), all of length 1.

    With `own_rows` >= 0 the enrolment's rows are themselves rows own_rows, own_rows + 1 ... of the cohort: each is left
    out where it is compared. Raises BadOption for a cohort whose cosines do not differ.
    """
    test_cosines = (cohort.vectors @ test).astype(np.float64)
    normalised = np.empty(len(scores))
    for begin in range(0, len(scores), _ROWS):
        rows = slice(begin, min(begin + _ROWS, len(scores)))
        cosines = (enrolment[rows] @ cohort.vectors.T).astype(np.float64)
        others = np.tile(test_cosines, (len(cosines), 1))
        if own_rows >= 0:
            own = np.arange(len(cosines)), own_rows + begin + np.arange(len(cosines))
            cosines[own] = others[own] = _NO_SCORE
        left_out = int(own_rows >= 0)
        parts = [_deviations(scores[rows], each, cohort.top_n, left_out) for each in (cosines, others)]
        normalised[rows] = 0.5 * (parts[0] + parts[1])
    return normalised


def statistics(vectors: Vectors, cohort: Cohort) -> tuple[Floats, Floats]:
    """Mean and deviation, (n,) each, of the highest cosines of unit vectors (n, dimension) with the cohort.

    For many trials of the same voices: each voice is compared with the cohort once. Raises BadOption as `normalise`.
    """
    means, deviations = np.empty(len(vectors)), np.empty(len(vectors))
    for begin in range(0, len(vectors), _ROWS):
        rows = slice(begin, begin + _ROWS)
        cosines = (vectors[rows] @ cohort.vectors.T).astype(np.float64)
        means[rows], deviations[rows] = _moments(cosines, cohort.top_n)
    return means, deviations


def _deviations(scores: Floats, cosines: Floats, top_n: int, left_out: int) -> Floats:
    """How many deviations above the mean of its row's highest cosines each score is."""
    means, deviations = _moments(cosines, top_n, left_out)
    result: Floats = (scores - means) / deviations
    return result


def _moments(cosines: Floats, top_n: int, left_out: int = 0) -> tuple[Floats, Floats]:
    size = cosines.shape[1]
    count = min(top_n, size - left_out)
    if count < MIN_COHORT:
        raise BadOption(f"a cohort of {count} other speakers: {MIN_COHORT} or more are needed")
    highest = np.partition(cosines, size - count, axis=1)[:, size - count :]
    deviation = highest.std(axis=1)
    if (deviation <= 1e-9).any():
        raise BadOption(f"the closest {count} vectors of the cohort are all equally close: they are one voice")
    return highest.mean(axis=1), deviation
