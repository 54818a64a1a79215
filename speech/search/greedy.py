"""Compiled: greedy CTC search (collapse repeats, drop blanks) of one frame; asr.md 7.1.

The one hypothesis lives in column 0; its path ends in PATH_TOKEN.
"""

from speech.search.layout import (
    BEST_TOKEN,
    BLANK_PENALTY,
    FRAME,
    LAST_ID,
    LENGTH,
    LOG_FLOOR,
    PATH_TOKEN,
    TOTAL,
)
from speech.search.pool import compiled, release, take_path


@compiled
def pick(log_probs, ids, blank_id, penalty):  # type: ignore[no-untyped-def]
    """Return (index or -1 for an unlisted blank, score) of the best candidate, blank made worse by `penalty`."""
    best = -1
    best_score = LOG_FLOOR
    for k in range(log_probs.shape[0]):
        score = log_probs[k] - penalty if ids[k] == blank_id else log_probs[k] * 1.0
        if score > best_score:  # false for NaN
            best = k
            best_score = score
    return best, best_score


@compiled
def greedy_frame(  # type: ignore[no-untyped-def]
    settings, numbers, scores, links, nodes, node_log_probs, pool, log_probs, ids, frame, blank_id
):
    """Add one frame; takes at most one node."""
    k, score = pick(log_probs, ids, blank_id, settings[BLANK_PENALTY])
    scores[TOTAL, 0] += score
    scores[BEST_TOKEN, 0] += score
    token = blank_id if k < 0 else ids[k]
    if token == blank_id:
        numbers[LAST_ID] = blank_id
        return
    tip = links[PATH_TOKEN, 0]
    if token != numbers[LAST_ID]:
        links[PATH_TOKEN, 0] = take_path(nodes, node_log_probs, pool, tip, token, frame, log_probs[k])
        release(nodes, pool, tip, False)
        links[LENGTH, 0] += 1
    elif log_probs[k] > node_log_probs[tip]:
        nodes[tip, FRAME] = frame
        node_log_probs[tip] = log_probs[k]
    numbers[LAST_ID] = token
