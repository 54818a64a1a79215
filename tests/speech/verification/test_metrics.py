"""EER and minDCF against counting every threshold one by one, and against values worked out by hand."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.errors import BadOption
from speech.verification.metrics import DetectionCost, error_curve


def counted(scores: list[float], targets: list[bool]) -> list[tuple[Fraction, Fraction]]:
    """(miss rate, false alarm rate) with the i lowest trials rejected, for every i, by counting and nothing else."""
    ranked = [is_target for _, is_target in sorted(zip(scores, targets, strict=True), key=lambda pair: pair[0])]
    points = []
    for rejected in range(len(ranked) + 1):
        missed = sum(ranked[:rejected])
        alarms = sum(not each for each in ranked[rejected:])
        points.append((Fraction(missed, sum(targets)), Fraction(alarms, len(targets) - sum(targets))))
    return points


def eer_of(points: list[tuple[Fraction, Fraction]]) -> float:
    """Where the line between the two points around equality crosses it."""
    for (miss, alarm), (next_miss, next_alarm) in itertools.pairwise(points):
        if miss < alarm and next_miss >= next_alarm:
            gap, next_gap = miss - alarm, next_miss - next_alarm
            share = -gap / (next_gap - gap)
            return float(miss + share * (next_miss - miss))
    raise AssertionError("the curve goes from accepting all to rejecting all")


trials = st.lists(st.tuples(st.integers(-1000, 1000), st.booleans()), min_size=2, max_size=60, unique_by=lambda t: t[0])


@given(trials.filter(lambda pairs: len({target for _, target in pairs}) == 2))
def test_rates_are_those_of_counting(pairs: list[tuple[int, bool]]) -> None:
    scores, targets = [score / 1000 for score, _ in pairs], [target for _, target in pairs]
    points = counted(scores, targets)
    curve = error_curve(scores, targets)
    assert curve.eer()[0] == pytest.approx(eer_of(points), abs=1e-12)
    for cost in (DetectionCost(), DetectionCost(p_target=0.3, c_miss=10, c_fa=2)):
        p = Fraction(cost.p_target)
        expected = min(
            Fraction(cost.c_miss) * p * miss + Fraction(cost.c_fa) * (1 - p) * alarm for miss, alarm in points
        ) / min(Fraction(cost.c_miss) * p, Fraction(cost.c_fa) * (1 - p))
        assert curve.min_dcf(cost)[0] == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def test_values_worked_out_by_hand() -> None:
    # Ascending: N N T N T T. Rejecting three leaves 1/3 missed and 1/3 accepted: EER 1/3, crossed exactly there.
    curve = error_curve([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [False, False, True, False, True, True])
    assert curve.eer() == (pytest.approx(1 / 3), 0.3)
    # No false alarm with four rejected, one of three targets lost: 0.01 / 3, over 0.01.
    assert curve.min_dcf(DetectionCost()) == (pytest.approx(1 / 3), 0.4)


def test_perfect_and_reversed_scores() -> None:
    assert error_curve([0, 1], [False, True]).eer()[0] == 0
    assert error_curve([0, 1], [False, True]).min_dcf(DetectionCost())[0] == 0
    assert error_curve([0, 1], [True, False]).eer()[0] == 1
    assert error_curve([0, 1], [True, False]).min_dcf(DetectionCost())[0] == 1


def test_trials_without_an_answer_are_refused() -> None:
    with pytest.raises(BadOption, match="3 target and 0 nontarget trials"):
        error_curve([1, 2, 3], [True] * 3)
    with pytest.raises(BadOption, match="score nan of trial 2"):
        error_curve([1, np.nan, 3], [True, False, True])
    with pytest.raises(BadOption, match="p_target is 0"):
        DetectionCost(p_target=0)
