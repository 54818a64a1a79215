"""AS-norm against the formula written out for one pair at a time."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from speech.errors import BadOption
from speech.verification import cohort as module
from speech.verification.cohort import Cohort, normalise
from speech.verification.vectors import Vectors, unit


def vectors(count: int, seed: int) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32))


def one_by_one(score: float, enrolment: Vectors, test: Vectors, others: Vectors, top_n: int) -> float:
    parts = []
    for side in (enrolment, test):
        cosines = sorted((float(np.dot(side, other)) for other in others), reverse=True)[:top_n]
        parts.append((score - statistics.fmean(cosines)) / statistics.pstdev(cosines))
    return 0.5 * (parts[0] + parts[1])


@pytest.mark.parametrize("top_n", [5, 20, 100])
def test_scores_are_those_of_the_formula(top_n: int) -> None:
    enrolment, test, others = vectors(7, 1), vectors(1, 2)[0], vectors(20, 3)
    scores = (enrolment @ test).astype(np.float64)
    found = normalise(scores, enrolment, test, Cohort(others, top_n))
    expected = [one_by_one(score, row, test, others, top_n) for score, row in zip(scores, enrolment, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_speakers_of_the_cohort_itself_are_left_out_of_their_own_statistics(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", rows)
    extra, enrolment, test = vectors(4, 4), vectors(7, 5), vectors(1, 6)[0]
    together = np.concatenate([extra, enrolment])
    scores = (enrolment @ test).astype(np.float64)
    found = normalise(scores, enrolment, test, Cohort(together, 6), own_rows=4)
    expected = [
        one_by_one(score, row, test, np.delete(together, 4 + index, axis=0), 6)
        for index, (score, row) in enumerate(zip(scores, enrolment, strict=True))
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_cohort_that_cannot_normalise_is_refused() -> None:
    with pytest.raises(BadOption, match="a cohort of 1 vectors: 2 or more"):
        Cohort(vectors(1, 1))
    same = np.repeat(vectors(1, 1), 5, axis=0)
    with pytest.raises(BadOption, match="all equally close"):
        normalise(np.zeros(1), vectors(1, 2), vectors(1, 3)[0], Cohort(same))
    with pytest.raises(BadOption, match="a cohort of 1 other speakers"):
        normalise(np.zeros(1), vectors(2, 2)[:1], vectors(1, 3)[0], Cohort(vectors(2, 2)), own_rows=0)


def test_statistics_of_each_voice_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 3)
    voices, others = vectors(8, 1), Cohort(vectors(20, 2), 7)
    means, deviations = module.statistics(voices, others)
    for test in range(8):
        scores = (voices @ voices[test]).astype(np.float64)
        wanted = 0.5 * ((scores - means) / deviations + (scores - means[test]) / deviations[test])
        np.testing.assert_allclose(normalise(scores, voices, voices[test], others), wanted, rtol=1e-5, atol=1e-5)
