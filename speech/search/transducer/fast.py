"""Compiled: fast beam search of one frame over the trivial graph; asr.md 8.3 (k2's rnnt_decode), without k2.

The trivial graph accepts every token sequence from one state, so a k2 state is a context, the last tokens. Paths that
arrive at one context are one state, of which the best counts; states are pruned by their distance from the best
(`beam`) and by number (`max_contexts`, `max_states`: with one graph state per context the smaller bound holds).

Where it may differ from k2: k2 keeps the paths into a state that were not the best in its lattice, so its n-best lists
hold more variants (the best path is the same); it computes in float32; and of equal scores it may keep another.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from speech.search.pool import compiled
from speech.search.transducer.beam import add, insert
from speech.search.transducer.contexts import extend_context, is_same
from speech.search.transducer.layout import (
    BEAM_SIZE,
    BEAM_WIDTH,
    BLANK_PENALTY,
    INVERSE_TEMPERATURE,
    NONE,
    NUM_HYPS,
)
from speech.search.transducer.scoring import BLANK, best_tokens, confidence, largest_logit
from speech.search.transducer.state import replace_all, total_score, wait_all


@compiled
def find_context(new, num, context):
    """Return which of the new hypotheses has `context`, or -1."""
    for r in range(num):
        if is_same(new.contexts[r], context):
            return r
    return -1


@compiled
def fast_frame(pool, hyps, settings, numbers, logits, unk_id, frame, tokens, values, ranking, new):
    """Add one frame, logits (hypotheses, vocabulary); takes at most one node per hypothesis."""
    num_hyps, limit, penalty = numbers[NUM_HYPS], numbers[BEAM_SIZE], settings[BLANK_PENALTY]
    num_ranked = 0
    for i in range(num_hyps):
        # A hypothesis's tokens lead to different contexts (but blank and unk to one): beyond the first limit + 1 none
        # can be among the best.
        for k in range(best_tokens(logits[i], penalty, limit + 1, tokens, values)):
            score = total_score(hyps, i) + values[k]
            num_ranked = insert(ranking, num_ranked, (limit + 1) * num_hyps, score, values[k], i, tokens[k])
    if num_ranked == 0:
        wait_all(hyps, num_hyps)
        return
    lowest = ranking.scores[0] - settings[BEAM_WIDTH]
    num = 0
    for c in range(num_ranked):
        if num == limit or ranking.scores[c] < lowest:
            break
        i, token = ranking.origins[c, 0], ranking.origins[c, 1]
        is_extended = token != BLANK and token != unk_id
        context = hyps.contexts[i].copy()
        if is_extended:
            extend_context(hyps.contexts[i], token, context)
        if find_context(new, num, context) >= 0:
            continue  # a better path is there already
        sure = np.float32(0.0)
        if is_extended:
            largest = largest_logit(logits[i], penalty)[1]
            sure = confidence(logits[i], penalty, settings[INVERSE_TEMPERATURE], token, largest)
        add(pool, hyps, new, num, i, NONE, token, ranking.log_probs[c], frame, sure, is_extended)
        num += 1
    replace_all(pool, hyps, numbers, new, num)
