"""Compiled: one slot's hypotheses, and what all searches do with them."""
# mypy: disable-error-code="no-untyped-def"

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speech.search.pool import compiled, release
from speech.search.transducer.layout import (
    NONE,
    NUM_HYPS,
    NUM_LINKS,
    NUM_SCORES,
    PATH,
    PREFIX,
    TRAILING,
)


class Hypotheses(NamedTuple):
    """Columns of scores (NUM_SCORES, beam) and links (NUM_LINKS, beam), contexts (beam, size), bias states."""

    scores: NDArray[np.float64]
    links: NDArray[np.int32]
    contexts: NDArray[np.int32]
    states: NDArray[np.int32]


@compiled
def make_hypotheses(width, context_size, state_size):
    """Return room for `width` hypotheses."""
    return Hypotheses(
        np.empty((NUM_SCORES, width), np.float64),
        np.empty((NUM_LINKS, width), np.int32),
        np.empty((width, context_size), np.int32),
        np.empty((width, state_size), np.int32),
    )


@compiled
def total_score(hyps, i):
    """Return the hypothesis's acoustic score with all that the bias has added."""
    total = hyps.scores[0, i]
    for row in range(1, NUM_SCORES):
        total += hyps.scores[row, i]
    return total


@compiled
def copy_hypothesis(source, i, target, r):
    """Copy hypothesis i of `source` to place r of `target`; references are the caller's."""
    for row in range(NUM_SCORES):
        target.scores[row, r] = source.scores[row, i]
    for row in range(NUM_LINKS):
        target.links[row, r] = source.links[row, i]
    for c in range(source.contexts.shape[1]):
        target.contexts[r, c] = source.contexts[i, c]
    for c in range(source.states.shape[1]):
        target.states[r, c] = source.states[i, c]


@compiled
def give_up_all(pool, hyps, num):
    """Give up the nodes of the first `num` hypotheses."""
    for i in range(num):
        release(pool, hyps.links[PREFIX, i], True)
        release(pool, hyps.links[PATH, i], False)
        hyps.links[PREFIX, i] = NONE
        hyps.links[PATH, i] = NONE


@compiled
def replace_all(pool, hyps, numbers, new, num):
    """Put `num` new hypotheses, which hold their own references, in the place of the old ones."""
    give_up_all(pool, hyps, numbers[NUM_HYPS])
    for r in range(num):
        copy_hypothesis(new, r, hyps, r)
    numbers[NUM_HYPS] = num


@compiled
def wait_all(hyps, num):
    """Let every hypothesis pass a frame without a token: nothing in the frame could be read."""
    for i in range(num):
        hyps.links[TRAILING, i] += 1
