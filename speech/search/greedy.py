"""Compiled: greedy CTC search (collapse repeats, drop blanks) of one frame; asr.md 7.1.

The one hypothesis is column 0, its path ends in PATH_TOKEN.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from speech.search.layout import BEST_TOKEN, FRAME, LAST_ID, LENGTH, LOG_FLOOR, PATH_TOKEN, TOTAL
from speech.search.pool import compiled, release, take_path


@compiled
def pick(log_probs, ids, blank_id, penalty):
    """Return (index, score) of the best candidate, blank made worse by `penalty`; index -1 where all are impossible."""
    best = -1
    best_score = LOG_FLOOR
    for k in range(log_probs.shape[0]):
        score = np.float64(log_probs[k])
        if ids[k] == blank_id:
            score -= penalty
        if score > best_score:  # false for NaN
            best = k
            best_score = score
    return best, best_score


@compiled
def greedy_frame(pool, hyps, numbers, log_probs, ids, frame, blank_id, penalty):
    """Add one frame; takes at most one node."""
    k, score = pick(log_probs, ids, blank_id, penalty)
    hyps.scores[TOTAL, 0] += score
    hyps.scores[BEST_TOKEN, 0] += score
    token = blank_id if k < 0 else ids[k]
    if token != blank_id:
        tip = hyps.links[PATH_TOKEN, 0]
        if token != numbers[LAST_ID]:
            hyps.links[PATH_TOKEN, 0] = take_path(pool, tip, token, frame, log_probs[k])
            release(pool, tip, False)
            hyps.links[LENGTH, 0] += 1
        elif log_probs[k] > pool.log_probs[tip]:
            pool.nodes[tip, FRAME] = frame
            pool.log_probs[tip] = log_probs[k]
    numbers[LAST_ID] = token
