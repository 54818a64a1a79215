"""Compiled: modified beam search of one frame; asr.md 8.2 (icefall's beam_search.py, sherpa-onnx).

One frame: the best beam_size of all (hypothesis, token) pairs -> blank keeps a hypothesis, a token extends it ->
those with equal tokens become one, their probabilities added.
"""
# mypy: disable-error-code="no-untyped-def"

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speech.search.hypotheses import log_add
from speech.search.pool import compiled, release, retain, take_path, take_prefix
from speech.search.transducer.contexts import extend_context
from speech.search.transducer.layout import (
    ACOUSTIC,
    BEAM_SIZE,
    BLANK_PENALTY,
    INVERSE_TEMPERATURE,
    LENGTH,
    NONE,
    NUM_HYPS,
    NUM_SCORES,
    PATH,
    PREFIX,
    TAKEN,
    TRAILING,
)
from speech.search.transducer.scoring import BLANK, best_tokens, confidence, largest_logit
from speech.search.transducer.state import copy_hypothesis, replace_all, total_score, wait_all


class Ranking(NamedTuple):
    """Candidates, best first: score, log-probability of the token, and (hypothesis, token)."""

    scores: NDArray[np.float64]
    log_probs: NDArray[np.float64]
    origins: NDArray[np.int32]


@compiled
def make_ranking(width):
    """Return room for `width` candidates."""
    return Ranking(np.empty(width, np.float64), np.empty(width, np.float64), np.empty((width, 2), np.int32))


@compiled
def insert(ranking, num, limit, score, log_prob, hypothesis, token):
    """Insert by score, equal ones in order of arrival; return the ranking's new length."""
    if num == limit and not score > ranking.scores[num - 1]:
        return num
    num = min(num + 1, limit)
    at = num - 1
    while at > 0 and score > ranking.scores[at - 1]:
        ranking.scores[at] = ranking.scores[at - 1]
        ranking.log_probs[at] = ranking.log_probs[at - 1]
        ranking.origins[at, 0] = ranking.origins[at - 1, 0]
        ranking.origins[at, 1] = ranking.origins[at - 1, 1]
        at -= 1
    ranking.scores[at] = score
    ranking.log_probs[at] = log_prob
    ranking.origins[at, 0] = hypothesis
    ranking.origins[at, 1] = token
    return num


@compiled
def rank(hyps, num_hyps, limit, logits, penalty, tokens, values, ranking):
    """Rank all (hypothesis, token) pairs by acoustic score and bonus; return how many of the best were kept."""
    num = 0
    for i in range(num_hyps):
        base = total_score(hyps, i)
        for k in range(best_tokens(logits[i], penalty, limit, tokens, values)):
            num = insert(ranking, num, limit, base + values[k], values[k], i, tokens[k])
    return num


@compiled
def find_prefix(new, num, node):
    """Return which of the new hypotheses has the prefix `node`, or -1."""
    for r in range(num):
        if new.links[PREFIX, r] == node:
            return r
    return -1


@compiled
def merge(hyps, new, r, i, log_prob, is_extended):
    """Add the probability of hypothesis i with its new token (or blank) to new hypothesis r, which has its tokens."""
    new.scores[ACOUSTIC, r] = log_add(new.scores[ACOUSTIC, r], hyps.scores[ACOUSTIC, i] + log_prob)
    if not is_extended and new.links[TAKEN, r] != NONE:
        # What the bias says of these tokens is known already.
        for row in range(1, NUM_SCORES):
            new.scores[row, r] = hyps.scores[row, i]
        for c in range(hyps.states.shape[1]):
            new.states[r, c] = hyps.states[i, c]
        new.links[TAKEN, r] = NONE


@compiled
def add(pool, hyps, new, r, i, node, token, log_prob, frame, sure, is_extended):
    """Write new hypothesis r: hypothesis i after blank or another token. Keeps the reference to `node`."""
    copy_hypothesis(hyps, i, new, r)
    new.scores[ACOUSTIC, r] += log_prob
    new.links[PREFIX, r] = node
    new.links[TAKEN, r] = NONE
    if not is_extended:
        new.links[PATH, r] = retain(pool, hyps.links[PATH, i])
        new.links[TRAILING, r] += 1
        return
    new.links[PATH, r] = take_path(pool, hyps.links[PATH, i], token, frame, sure)
    new.links[LENGTH, r] += 1
    new.links[TRAILING, r] = 0
    new.links[TAKEN, r] = token
    extend_context(hyps.contexts[i], token, new.contexts[r])


@compiled
def beam_frame(pool, hyps, settings, numbers, logits, unk_id, frame, tokens, values, ranking, new):
    """Add one frame, logits (hypotheses, vocabulary); takes at most two nodes per hypothesis of the beam."""
    num_hyps, penalty = numbers[NUM_HYPS], settings[BLANK_PENALTY]
    num_ranked = rank(hyps, num_hyps, numbers[BEAM_SIZE], logits, penalty, tokens, values, ranking)
    if num_ranked == 0:
        wait_all(hyps, num_hyps)
        return
    num = 0
    for c in range(num_ranked):
        i, token = ranking.origins[c, 0], ranking.origins[c, 1]
        is_extended = token != BLANK and token != unk_id
        prefix = hyps.links[PREFIX, i]
        node = take_prefix(pool, prefix, token) if is_extended else retain(pool, prefix)
        r = find_prefix(new, num, node)
        if r >= 0:
            release(pool, node, True)
            merge(hyps, new, r, i, ranking.log_probs[c], is_extended)
            continue
        sure = np.float32(0.0)
        if is_extended:
            largest = largest_logit(logits[i], penalty)[1]
            sure = confidence(logits[i], penalty, settings[INVERSE_TEMPERATURE], token, largest)
        add(pool, hyps, new, num, i, node, token, ranking.log_probs[c], frame, sure, is_extended)
        num += 1
    replace_all(pool, hyps, numbers, new, num)
