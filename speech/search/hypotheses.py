"""Compiled: what the search knows of hypotheses, one column each: their scores, paths and extensions."""
# mypy: disable-error-code="no-untyped-def"

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speech.search.layout import (
    BEST_BLANK,
    BEST_TOKEN,
    LAST_TOKEN,
    PATH_BLANK,
    PATH_TOKEN,
    PREFIX,
    SUM_BLANK,
    TOTAL,
)
from speech.search.pool import compiled, release


class Hypotheses(NamedTuple):
    """Columns of scores (NUM_SCORES, beam) and links (NUM_LINKS, beam), best first; see layout.py."""

    scores: NDArray[np.float64]
    links: NDArray[np.int32]


class Candidates(NamedTuple):
    """A frame's usable tokens without blank, best first: the first `num` of two arrays (K,)."""

    ids: NDArray[np.int32]
    log_probs: NDArray[np.float64]
    num: int


@compiled
def log_add(a, b):
    """Return log(exp(a) + exp(b)); beyond 40 apart the smaller is lost in float64 anyway."""
    high, low = (a, b) if a > b else (b, a)
    if low == -np.inf or high - low > 40.0:
        return high
    return high + np.log1p(np.exp(low - high))


@compiled
def find(values, num, wanted):
    """Return the index of `wanted` in values[:num], or -1."""
    for i in range(num):
        if values[i] == wanted:
            return i
    return -1


@compiled
def best_path(hyps, i):
    """Return (score, path node) of hypothesis i's best path."""
    if hyps.scores[BEST_BLANK, i] >= hyps.scores[BEST_TOKEN, i]:
        return hyps.scores[BEST_BLANK, i], hyps.links[PATH_BLANK, i]
    return hyps.scores[BEST_TOKEN, i], hyps.links[PATH_TOKEN, i]


@compiled
def extended_sum(hyps, i, token):
    """Return the log-sum of hypothesis i's paths that `token` can follow: those ending in blank, if it repeats."""
    return hyps.scores[SUM_BLANK, i] if token == hyps.links[LAST_TOKEN, i] else hyps.scores[TOTAL, i]


@compiled
def extended_path(hyps, i, token):
    """Return (score, path node) of the best of those paths."""
    if token == hyps.links[LAST_TOKEN, i]:
        return hyps.scores[BEST_BLANK, i], hyps.links[PATH_BLANK, i]
    return best_path(hyps, i)


@compiled
def give_up(pool, links, num):
    """Give up the references of the first `num` hypotheses."""
    for i in range(num):
        release(pool, links[PREFIX, i], True)
        release(pool, links[PATH_BLANK, i], False)
        release(pool, links[PATH_TOKEN, i], False)
