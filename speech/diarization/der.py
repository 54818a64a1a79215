"""The diarization error rate as NIST's md-eval.pl (version 22) counts it, its collar and overlap rules included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from speech.rttm import RttmTurn

Flags = npt.NDArray[np.bool_]
Seconds = npt.NDArray[np.float64]
Spans = dict[str, list[tuple[float, float]]]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class DiarizationErrors:
    """Seconds of speakers' time: a second of two speakers at once counts as two."""

    scored_s: float = 0.0
    missed_s: float = 0.0
    false_alarm_s: float = 0.0
    confused_s: float = 0.0

    @property
    def rate(self) -> float:
        """Errors over scored speakers' time; infinite when there are errors in no time at all."""
        errors = self.missed_s + self.false_alarm_s + self.confused_s
        return errors / self.scored_s if self.scored_s else (float("inf") if errors else 0.0)

    def __add__(self, other: DiarizationErrors) -> DiarizationErrors:
        return DiarizationErrors(
            self.scored_s + other.scored_s,
            self.missed_s + other.missed_s,
            self.false_alarm_s + other.false_alarm_s,
            self.confused_s + other.confused_s,
        )


def score_diarization(
    reference: Iterable[RttmTurn],
    hypothesis: Iterable[RttmTurn],
    *,
    collar_s: float = 0.0,
    ignores_overlap: bool = False,
) -> dict[Key, DiarizationErrors]:
    """Score each file and channel of the reference, from its first turn's begin to its last one's end.

    Times nearer than `collar_s` to a begin or end of a reference turn are not scored; with `ignores_overlap` neither
    is what several reference speakers say at once (md-eval's -1). Speakers are matched one to one by the time they
    share, before the collar is cut out. A file that only the hypothesis has is not scored, one that it lacks is missed.
    """
    references, hypotheses = _by_file(reference), _by_file(hypothesis)
    return {key: _score(spans, hypotheses.get(key, {}), collar_s, ignores_overlap) for key, spans in references.items()}


def total(scores: Mapping[Key, DiarizationErrors]) -> DiarizationErrors:
    """The errors of all files together."""
    return sum(scores.values(), DiarizationErrors())


def _by_file(turns: Iterable[RttmTurn]) -> dict[Key, Spans]:
    files: dict[Key, Spans] = defaultdict(lambda: defaultdict(list))
    for turn in turns:
        if turn.duration_s > 0:
            files[turn.file, turn.channel.lower()][turn.speaker].append((turn.begin_s, turn.end_s))
    return {key: dict(spans) for key, spans in files.items()}


def _score(reference: Spans, hypothesis: Spans, collar_s: float, ignores_overlap: bool) -> DiarizationErrors:
    edges = _edges(reference, hypothesis, collar_s)
    lengths = np.diff(edges)
    talking, claimed = _active(reference, edges), _active(hypothesis, edges)
    num_talking, num_claimed = talking.sum(axis=0), claimed.sum(axis=0)
    right = np.zeros(len(lengths))
    for left, match in _matched(talking, claimed, lengths):
        right += talking[left] & claimed[match]
    scored = lengths * _is_scored(reference, edges, collar_s)
    if ignores_overlap:
        scored = scored * (num_talking < 2)
    return DiarizationErrors(
        float(scored @ num_talking),
        float(scored @ np.maximum(num_talking - num_claimed, 0)),
        float(scored @ np.maximum(num_claimed - num_talking, 0)),
        float(scored @ (np.minimum(num_talking, num_claimed) - right)),
    )


def _edges(reference: Spans, hypothesis: Spans, collar_s: float) -> Seconds:
    """All moments, within the reference's first begin and last end, at which anything changes."""
    truth = np.array([time for spans in reference.values() for span in spans for time in span])
    claims = [time for spans in hypothesis.values() for span in spans for time in span]
    edges = np.unique(np.concatenate([truth, truth - collar_s, truth + collar_s, np.array(claims, np.float64)]))
    inside: Seconds = edges[(edges >= truth.min()) & (edges <= truth.max())]
    return inside


def _active(spans: Spans, edges: Seconds) -> Flags:
    """Who talks between neighbouring edges, (speakers, edges - 1); a speaker's own overlapping turns count once."""
    active = np.zeros((len(spans), len(edges) - 1), np.bool_)
    for row, own in zip(active, spans.values(), strict=True):
        for begin, end in own:
            row[np.searchsorted(edges, begin) : np.searchsorted(edges, end)] = True
    return active


def _is_scored(reference: Spans, edges: Seconds, collar_s: float) -> Flags:
    """Whether each stretch lies outside all collars."""
    middles = (edges[:-1] + edges[1:]) / 2
    borders = np.unique([time for spans in reference.values() for span in spans for time in span])
    after = np.clip(np.searchsorted(borders, middles), 1, len(borders) - 1)
    nearest = np.minimum(np.abs(middles - borders[after - 1]), np.abs(middles - borders[after]))
    return np.asarray(nearest > collar_s, np.bool_)


def _matched(talking: Flags, claimed: Flags, lengths: Seconds) -> Sequence[tuple[int, int]]:
    shared = (talking * lengths) @ claimed.T
    pairs = zip(*linear_sum_assignment(-shared), strict=True)
    return [(int(left), int(right)) for left, right in pairs if shared[left, right] > 0]
