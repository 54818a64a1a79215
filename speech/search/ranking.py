"""Compiled: which hypotheses survive a frame of prefix beam search, with and without hotwords and language model."""
# mypy: disable-error-code="no-untyped-def"

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speech.biasing.steps import NUM_STATES, max_gain, open_bias, step_bias
from speech.search.hypotheses import extended_sum
from speech.search.layout import (
    BIAS_STATES,
    HOTWORDS,
    LAST_TOKEN,
    LM,
    LOG_HOPELESS,
    NONE,
    TOTAL,
)
from speech.search.pool import compiled


class Carried(NamedTuple):
    """The beam carried over one frame, before ranking: new scores, path nodes, and what to do with them (`fates`).

    `merged[i, k]`: hypothesis i extended by candidate k is a living prefix already.
    """

    scores: NDArray[np.float64]
    links: NDArray[np.int32]
    fates: NDArray[np.int32]
    merged: NDArray[np.bool_]


class Ranking(NamedTuple):
    """Survivors, best first: score, last token, and (hypothesis, candidate or NONE) they come from."""

    scores: NDArray[np.float64]
    tokens: NDArray[np.int32]
    origins: NDArray[np.int32]


class Extensions(NamedTuple):
    """What a bias makes of hypothesis i extended by candidate k: gains[i, k] and states[i, k], where it was asked."""

    gains: NDArray[np.float64]
    states: NDArray[np.int32]


@compiled
def make_extensions(width, num_ids):
    """Return memory for every extension of `width` hypotheses."""
    return Extensions(np.empty((width, num_ids, 2), np.float64), np.empty((width, num_ids, NUM_STATES), np.int32))


@compiled
def insert(ranking, num, limit, score, token, hypothesis, candidate):
    """Insert by score down, then token up, then order of arrival; return the ranking's new length."""
    at = num
    while at > 0 and (
        score > ranking.scores[at - 1] or (score == ranking.scores[at - 1] and token < ranking.tokens[at - 1])
    ):
        at -= 1
    if at >= limit:
        return num
    num = min(num + 1, limit)
    for r in range(num - 1, at, -1):
        ranking.scores[r] = ranking.scores[r - 1]
        ranking.tokens[r] = ranking.tokens[r - 1]
        ranking.origins[r, 0] = ranking.origins[r - 1, 0]
        ranking.origins[r, 1] = ranking.origins[r - 1, 1]
    ranking.scores[at] = score
    ranking.tokens[at] = token
    ranking.origins[at, 0] = hypothesis
    ranking.origins[at, 1] = candidate
    return num


@compiled
def rank(hyps, num_hyps, limit, cands, carried, ranking):
    """Rank carried and extended hypotheses; return how many survive."""
    num = 0
    for i in range(num_hyps):
        num = insert(ranking, num, limit, carried.scores[TOTAL, i], hyps.links[LAST_TOKEN, i], i, NONE)
    for i in range(num_hyps):
        for k in range(cands.num):
            if num == limit and hyps.scores[TOTAL, i] + cands.log_probs[k] < ranking.scores[num - 1]:
                break  # candidates only get worse
            score = extended_sum(hyps, i, cands.ids[k]) + cands.log_probs[k]
            if score > -np.inf and not carried.merged[i, k]:
                num = insert(ranking, num, limit, score, cands.ids[k], i, k)
    return num


@compiled
def drop_hopeless(ranking, num):
    """Return how many of the ranked live by more than the floor of log-probabilities."""
    while num > 1 and ranking.scores[num - 1] < ranking.scores[0] - LOG_HOPELESS:
        num -= 1
    return num


@compiled
def rank_biased(handle, hyps, num_hyps, limit, cands, carried, ranking, extensions):
    """As `rank`, by acoustic score and bonus together; leaves each extension's gains and states in `extensions`."""
    # Opened here and not once per step: arrays handed from function to function cost streams without a bias 10 %.
    bias = open_bias(handle)
    num = 0
    for i in range(num_hyps):
        score = carried.scores[TOTAL, i] + hyps.scores[HOTWORDS, i] + hyps.scores[LM, i]
        num = insert(ranking, num, limit, score, hyps.links[LAST_TOKEN, i], i, NONE)
    most = max_gain(bias)
    for i in range(num_hyps):
        bonus = hyps.scores[HOTWORDS, i] + hyps.scores[LM, i]
        for k in range(cands.num):
            best = hyps.scores[TOTAL, i] + cands.log_probs[k] + bonus + most
            if num == limit and best < ranking.scores[num - 1]:
                break  # candidates only get worse
            score = extended_sum(hyps, i, cands.ids[k]) + cands.log_probs[k]
            if score > -np.inf and not carried.merged[i, k]:
                gains = extensions.gains[i, k]
                states = hyps.links[BIAS_STATES:, i]
                gains[0], gains[1] = step_bias(bias, states, cands.ids[k], extensions.states[i, k])
                num = insert(ranking, num, limit, score + bonus + gains[0] + gains[1], cands.ids[k], i, k)
    return num


@compiled
def build_bias(hyps, extensions, i, k, new, r):
    """Write the bonus rows of survivor r: hypothesis i carried on (k is NONE) or extended by candidate k."""
    for row in range(2):
        new.scores[HOTWORDS + row, r] = hyps.scores[HOTWORDS + row, i]
        if k != NONE:
            new.scores[HOTWORDS + row, r] += extensions.gains[i, k, row]
    for row in range(NUM_STATES):
        new.links[BIAS_STATES + row, r] = (
            hyps.links[BIAS_STATES + row, i] if k == NONE else extensions.states[i, k, row]
        )
