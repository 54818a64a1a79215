"""Error rates of yes/no decisions from scores: EER and minDCF, computed as WeSpeaker's `score_metrics.py` does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speech.errors import BadOption

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DetectionCost:
    """What errors cost: NIST's detection cost function, normalised by the better of accepting all or nobody."""

    p_target: float = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.p_target < 1.0:
            raise BadOption(f"p_target is {self.p_target}; allowed: above 0, below 1")
        if self.c_miss <= 0 or self.c_fa <= 0:
            raise BadOption(f"c_miss is {self.c_miss}, c_fa is {self.c_fa}; both must be above 0")


@dataclass(frozen=True, slots=True, eq=False)
class ErrorCurve:
    """Rates at every threshold, ascending: accepting what scores above `thresholds[i]` misses the share `misses[i]`
    of targets and accepts the share `false_alarms[i]` of the others. The first point accepts everything.
    """

    thresholds: Floats
    misses: Floats
    false_alarms: Floats

    def eer(self) -> tuple[float, float]:
        """Return the equal error rate in [0, 1], interpolated between the two points around it, and its threshold."""
        difference = self.misses - self.false_alarms
        above = int(np.flatnonzero(difference >= 0)[0])
        below = int(np.flatnonzero(difference < 0)[-1])
        step = difference[above] / (difference[above] - difference[below])
        rate = self.misses[above] + step * (self.misses[below] - self.misses[above])
        return float(rate), float(self.thresholds[above])

    def min_dcf(self, cost: DetectionCost) -> tuple[float, float]:
        """Return the least normalised detection cost, and its threshold."""
        p = cost.p_target
        costs = cost.c_miss * p * self.misses + cost.c_fa * (1 - p) * self.false_alarms
        best = int(np.argmin(costs))
        return float(costs[best] / min(cost.c_miss * p, cost.c_fa * (1 - p))), float(self.thresholds[best])


def error_curve(scores: Sequence[float] | Floats, is_target: Sequence[bool] | npt.NDArray[np.bool_]) -> ErrorCurve:
    """Sort the trials by score, ties in their order, and count. Raises BadOption without both kinds of trials."""
    values, targets = np.asarray(scores, np.float64), np.asarray(is_target, np.bool_)
    num_targets = int(targets.sum())
    if num_targets == 0 or num_targets == len(targets):
        raise BadOption(
            f"{num_targets} target and {len(targets) - num_targets} nontarget trials: both kinds are needed"
        )
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise BadOption(f"score {values[wrong]} of trial {wrong + 1}: scores must be finite")
    order = np.argsort(values, kind="stable")
    targets = targets[order]
    misses = np.concatenate([[0.0], np.cumsum(targets) / num_targets])
    accepted = len(targets) - num_targets - np.concatenate([[0], np.cumsum(~targets)])
    return ErrorCurve(np.concatenate([[-np.inf], values[order]]), misses, accepted / (len(targets) - num_targets))
