"""What CTC thinks of a given text: its score over all alignments, and when its tokens come on the best one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.compiling import compile_ahead

_SIGNATURE = "float64(float32[:, ::1], int32[::1], int64, int32[::1], float32[::1])"


def _align(log_probs, tokens, blank, times, confidences):  # type: ignore[no-untyped-def]
    """Fill `times` and `confidences` (tokens,) and return the score, -inf where no alignment is possible.

    States are blank, token, blank, token ... blank: forward sums (Graves et al. 2006) and, beside them, the best path.
    """
    frames, states = log_probs.shape[0], 2 * len(tokens) + 1
    total = np.full(states, -np.inf)
    best = np.full(states, -np.inf)
    back = np.zeros((frames, states), np.int8)
    next_total = np.empty(states)
    next_best = np.empty(states)
    for frame in range(frames):
        for state in range(states):
            token = blank if state % 2 == 0 else tokens[state // 2]
            steps = 2
            if state % 2 == 1 and state > 1 and tokens[state // 2] != tokens[state // 2 - 1]:
                steps = 3
            high, high_best, came = -np.inf, -np.inf, 0
            if frame == 0:
                if state < 2:
                    high, high_best = 0.0, 0.0
            else:
                for step in range(min(steps, state + 1)):
                    if best[state - step] > high_best:
                        high_best, came = best[state - step], step
                    high = max(high, total[state - step])
            summed = -np.inf
            if high > -np.inf:
                summed = high
                if frame > 0:
                    share = 0.0
                    for step in range(min(steps, state + 1)):
                        share += np.exp(total[state - step] - high)
                    summed = high + np.log(share)
            next_total[state] = summed + log_probs[frame, token]
            next_best[state] = high_best + log_probs[frame, token]
            back[frame, state] = came
        total[:] = next_total
        best[:] = next_best
    if frames == 0:
        return 0.0 if len(tokens) == 0 else -np.inf
    state = states - 1
    score = total[state]
    if states > 1:
        if best[state - 1] > best[state]:
            state -= 1
        high = max(total[states - 1], total[states - 2])
        if high == -np.inf:
            return -np.inf
        score = high + np.log(np.exp(total[states - 1] - high) + np.exp(total[states - 2] - high))
    confidences[:] = -np.inf
    for frame in range(frames - 1, -1, -1):
        if state % 2 == 1:
            value = log_probs[frame, tokens[state // 2]]
            if value >= confidences[state // 2]:
                confidences[state // 2], times[state // 2] = value, frame
        state -= back[frame, state]
    for index in range(len(tokens)):
        confidences[index] = np.exp(confidences[index])
    return score


_align_ahead = compile_ahead(_SIGNATURE, _align)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """`score` natural log, -inf where the text does not fit the frames; `times` int32 (tokens,) the frame where each
    token peaks on the best path; `confidences` float32 (tokens,) its posterior there.
    """

    score: float
    times: NDArray[np.int32]
    confidences: NDArray[np.float32]


def best_path(log_probs: NDArray[np.float32], blank: int) -> NDArray[np.int32]:
    """Return the tokens of the likeliest alignment to (frames, vocabulary) log-probs: greedy CTC, without a search."""
    best: NDArray[np.int32] = log_probs.argmax(axis=1).astype(np.int32)
    said = best != blank
    said[1:] &= best[1:] != best[:-1]
    found: NDArray[np.int32] = best[said]
    return found


def align(log_probs: NDArray[np.float32], tokens: NDArray[np.int32], blank: int) -> Alignment:
    """Align tokens (n,) int32 to log-probabilities (frames, vocabulary) float32 of a CTC layer."""
    times, confidences = np.zeros(len(tokens), np.int32), np.zeros(len(tokens), np.float32)
    rows = np.ascontiguousarray(log_probs, np.float32)
    score = _align_ahead(rows, np.ascontiguousarray(tokens, np.int32), blank, times, confidences)
    return Alignment(float(score), times, confidences)
