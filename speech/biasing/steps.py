"""Compiled: what a token adds to a hypothesis by hotwords and language model, and where both go on from.

Searches call these from their own kernels, without the GIL, in any thread. A bias reaches them as one row of
addresses and lengths (`Bias.handle`), so that thousands of searches read the same arrays; whoever keeps a handle keeps
its `Bias`.
"""
# mypy: disable-error-code="no-untyped-def, attr-defined, call-arg"

from typing import NamedTuple

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from speech.biasing.hashed import NUM_COLUMNS
from speech.biasing.hashed_steps import score_hashed
from speech.compiling import compiled

NUM_STATES = 4
GRAPH_NODE, LM_STATE, WORD_NODE, LODR_STATE = range(NUM_STATES)
"""A hypothesis's states: of the context graph, the language model, the word begun (word LMs), and the LODR bigram."""

HOTWORD_GAIN, LM_GAIN, NUM_GAINS = range(3)

BOUNDARY = 0  # among a piece's characters: a word ends here, if one was begun
LOST = -1  # word node: no word of the language model begins so; the unknown word is paid for already


class BiasArrays(NamedTuple):
    """Views of a bias's arrays; empty ones where it has no graph or no language model. See the classes they are of."""

    # ContextGraph
    token: NDArray[np.int32]
    first_child: NDArray[np.int32]
    fail: NDArray[np.int32]
    landing: NDArray[np.int32]
    total: NDArray[np.float32]
    gain: NDArray[np.float32]
    # NgramLm
    backoff: NDArray[np.float32]
    shorter: NDArray[np.int32]
    first_arc: NDArray[np.int32]
    arc_word: NDArray[np.int32]
    arc_log_prob: NDArray[np.float32]
    arc_next: NDArray[np.int32]
    # HashedLm, in its place
    cells: NDArray[np.int32]
    floats: NDArray[np.float32]
    tables: NDArray[np.int64]
    histories: NDArray[np.int32]
    # FittedLm: token level has `token_word` only, word level all others
    token_word: NDArray[np.int32]
    first_char: NDArray[np.int32]
    chars: NDArray[np.int32]
    word_char: NDArray[np.int32]
    word_first_child: NDArray[np.int32]
    word_of: NDArray[np.int32]
    # Lodr and its NgramLm
    lodr_word: NDArray[np.int32]
    lodr_backoff: NDArray[np.float32]
    lodr_first_arc: NDArray[np.int32]
    lodr_arc_word: NDArray[np.int32]
    lodr_arc_log_prob: NDArray[np.float32]
    lodr_arc_next: NDArray[np.int32]
    # Bias
    numbers: NDArray[np.float64]


NUM_ARRAYS = len(BiasArrays._fields)
HANDLE_SIZE = 2 * NUM_ARRAYS
"""A handle is int64 (HANDLE_SIZE,): address and length of each array in the order of `BiasArrays`; zeros: no bias."""

MAX_GAIN, LM_WEIGHT, LM_BONUS, UNKNOWN_WORD, END_WORD, LODR_WEIGHT, NUM_NUMBERS = range(7)
"""Places in `numbers`; UNKNOWN_WORD and END_WORD (-1: none) are word numbers of the language model."""


@intrinsic
def _pointer(typing, address):
    """Turn an int64 into a void pointer, for numba.carray."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@compiled
def _ints(handle, index):
    return numba.carray(_pointer(handle[2 * index]), (handle[2 * index + 1],), np.int32)


@compiled
def _floats(handle, index):
    return numba.carray(_pointer(handle[2 * index]), (handle[2 * index + 1],), np.float32)


@compiled
def _tables(handle, index):
    rows = handle[2 * index + 1] // NUM_COLUMNS
    return numba.carray(_pointer(handle[2 * index]), (rows, NUM_COLUMNS), np.int64)


@compiled
def open_bias(handle):
    """Return the arrays behind a handle; do it once per frame, not per token."""
    return BiasArrays(
        _ints(handle, 0),
        _ints(handle, 1),
        _ints(handle, 2),
        _ints(handle, 3),
        _floats(handle, 4),
        _floats(handle, 5),
        _floats(handle, 6),
        _ints(handle, 7),
        _ints(handle, 8),
        _ints(handle, 9),
        _floats(handle, 10),
        _ints(handle, 11),
        _ints(handle, 12),
        _floats(handle, 13),
        _tables(handle, 14),
        _ints(handle, 15),
        _ints(handle, 16),
        _ints(handle, 17),
        _ints(handle, 18),
        _ints(handle, 19),
        _ints(handle, 20),
        _ints(handle, 21),
        _ints(handle, 22),
        _floats(handle, 23),
        _ints(handle, 24),
        _ints(handle, 25),
        _floats(handle, 26),
        _ints(handle, 27),
        numba.carray(_pointer(handle[56]), (handle[57],), np.float64),
    )


@compiled
def is_biased(handle):
    """Return whether a handle adds anything at all."""
    return handle[HANDLE_SIZE - 1] > 0


@compiled
def max_gain(bias):
    """Return the most that one step can add, hotwords and language model together."""
    return bias.numbers[MAX_GAIN]


@compiled
def _find(values, low, high, wanted):
    """Return the index of `wanted` in the ascending values[low:high], or -1."""
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _child(labels, first_child, node, label):
    """Return the child of `node` by `label`, or 0."""
    high = first_child[node + 1]
    at = _find(labels, first_child[node], high, label)
    return at if at < high and labels[at] == label else 0


@compiled
def step_graph(bias, node, token):
    """Return (gain, next node) of a token."""
    came_from = node
    following = _child(bias.token, bias.first_child, node, token)
    while following == 0 and node != 0:
        node = bias.fail[node]
        following = _child(bias.token, bias.first_child, node, token)
    total = np.float64(bias.total[following])
    return total - bias.total[came_from] + bias.gain[following], bias.landing[following]


@compiled
def score_word(bias, state, word):
    """Return (natural log-probability, next state) of a word of the language model: Katz's back-off."""
    if bias.tables.shape[0] > 0:
        return score_hashed(bias, state, word)
    log_prob = 0.0
    while state != 0:
        high = bias.first_arc[state + 1]
        at = _find(bias.arc_word, bias.first_arc[state], high, word)
        if at < high and bias.arc_word[at] == word:
            return log_prob + bias.arc_log_prob[at], bias.arc_next[at]
        log_prob += bias.backoff[state]
        state = bias.shorter[state]
    # The empty context has an arc for every word, in the order of their numbers.
    return log_prob + bias.arc_log_prob[word], bias.arc_next[word]


@compiled
def _weighted(bias, log_prob):
    return bias.numbers[LM_WEIGHT] * log_prob + bias.numbers[LM_BONUS]


@compiled
def _unknown_word(bias, state):
    """Return (gain, next state) of a word that the language model does not know."""
    log_prob, state = score_word(bias, state, np.int32(bias.numbers[UNKNOWN_WORD]))
    return _weighted(bias, log_prob), state


@compiled
def _end_word(bias, state, node):
    """Return (gain, next state) of the word that ends in `node`."""
    if node == LOST:
        return 0.0, state
    word = bias.word_of[node]
    if word < 0:
        return _unknown_word(bias, state)
    log_prob, state = score_word(bias, state, word)
    return _weighted(bias, log_prob), state


@compiled
def _step_token(bias, state, token):
    """Return (gain, next state) of a token that is a word of the language model; of any other, nothing."""
    word = bias.token_word[token]
    if word < 0:
        return 0.0, state
    log_prob, state = score_word(bias, state, word)
    return _weighted(bias, log_prob), state


@compiled
def _step_piece(bias, state, node, token):
    """Return (gain, next state, next word node) of a word piece.

    Words are scored where they end; one that no known word begins like, at the first byte that says so: waiting for its
    end, it would push the known words out of a beam that all its spellings fill.
    """
    gain = 0.0
    for at in range(bias.first_char[token], bias.first_char[token + 1]):
        char = bias.chars[at]
        if char == BOUNDARY:
            if node != 0:
                more, state = _end_word(bias, state, node)
                gain += more
            node = np.int32(0)
        elif node != LOST:
            node = np.int32(_child(bias.word_char, bias.word_first_child, node, char))
            if node == 0:
                node = np.int32(LOST)
                more, state = _unknown_word(bias, state)
                gain += more
    return gain, state, node


@compiled
def _step_lodr(bias, state, token):
    """Return (gain, next state) of a token: its likeliest way through the bigram, subtracted."""
    word = bias.lodr_word[token]
    if word < 0:
        return 0.0, np.int32(0)
    log_prob = np.float64(bias.lodr_backoff[state]) + bias.lodr_arc_log_prob[word]  # 0 of the empty history
    if state != 0:
        high = bias.lodr_first_arc[state + 1]
        at = _find(bias.lodr_arc_word, bias.lodr_first_arc[state], high, word)
        if at < high and bias.lodr_arc_word[at] == word:
            log_prob = max(log_prob, np.float64(bias.lodr_arc_log_prob[at]))
    return -bias.numbers[LODR_WEIGHT] * log_prob, bias.lodr_arc_next[word]


@compiled
def step_bias(bias, states, token, after):
    """Write the states after `token`, int32 (NUM_STATES,), to `after`; return (hotword gain, LM gain).

    Tokens that write nothing (blank) must not be given.
    """
    hotwords = 0.0
    lm = 0.0
    for row in range(NUM_STATES):
        after[row] = states[row]
    if bias.token.shape[0] > 0:
        hotwords, after[GRAPH_NODE] = step_graph(bias, states[GRAPH_NODE], token)
    if bias.token_word.shape[0] > 0:
        lm, after[LM_STATE] = _step_token(bias, states[LM_STATE], token)
    elif bias.first_char.shape[0] > 0:
        lm, after[LM_STATE], after[WORD_NODE] = _step_piece(bias, states[LM_STATE], states[WORD_NODE], token)
    if bias.lodr_word.shape[0] > 0:
        subtracted, after[LODR_STATE] = _step_lodr(bias, states[LODR_STATE], token)
        lm += subtracted
    return hotwords, lm


@compiled
def close_bias(bias, states):
    """Return (hotword gain, LM gain) of ending here: an unfinished phrase is paid back, the last words are scored."""
    hotwords = 0.0
    lm = 0.0
    if bias.token.shape[0] > 0:
        hotwords = -np.float64(bias.total[states[GRAPH_NODE]])
    if bias.shorter.shape[0] > 0 or bias.tables.shape[0] > 0:
        state = states[LM_STATE]
        if states[WORD_NODE] != 0:
            lm, state = _end_word(bias, state, states[WORD_NODE])
        end = np.int32(bias.numbers[END_WORD])
        if end >= 0:
            lm += bias.numbers[LM_WEIGHT] * score_word(bias, state, end)[0]
    return hotwords, lm
