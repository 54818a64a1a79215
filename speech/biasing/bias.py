"""What a stream's search adds to the acoustic scores: hotwords and a language model, ready for compiled searches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speech.biasing import batch
from speech.biasing.context_graph import ContextGraph
from speech.biasing.fitted import FittedLm
from speech.biasing.hashed import NUM_COLUMNS, HashedLm
from speech.biasing.lodr import Lodr
from speech.biasing.ngram import NgramLm
from speech.biasing.steps import HANDLE_SIZE, LM_STATE, LODR_STATE, LODR_WEIGHT, MAX_GAIN, NUM_NUMBERS, NUM_STATES
from speech.errors import BadOption

MAX_LM_WEIGHT = 10.0
MAX_LM_BONUS = 20.0

_Array = NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float32]

_INTS = np.zeros(0, np.int32)
_FLOATS = np.zeros(0, np.float32)
_TABLES = np.zeros((0, NUM_COLUMNS), np.int64)
_NO_ARCS = _FLOATS, _INTS, _INTS, _INTS, _FLOATS, _INTS
_NO_HASHES = _INTS, _FLOATS, _TABLES, _INTS


class Bias:
    """Hotwords and a language model with its weights. Immutable; any number of streams may share one.

    A word (token, at token level) of probability p adds lm_weight * ln(p) + lm_bonus;
    a token that `lodr` gives the probability q adds -lodr_weight * ln(q). `handle` int64 (HANDLE_SIZE,) is
    what compiled code takes (see steps.py) and is good for as long as this object lives; `start` int32 (NUM_STATES,)
    are the states of an empty hypothesis.
    """

    def __init__(
        self,
        graph: ContextGraph | None = None,
        lm: FittedLm | None = None,
        *,
        lm_weight: float = 0.5,
        lm_bonus: float = 0.0,
        lodr: Lodr | None = None,
        lodr_weight: float = 0.0,
    ) -> None:
        """Raises BadOption for weights out of range. `lodr` counts for nothing without a weight."""
        if not 0.0 <= lm_weight <= MAX_LM_WEIGHT:
            raise BadOption(f"lm_weight is {lm_weight:g}; allowed is 0 to {MAX_LM_WEIGHT:g}")
        if not abs(lm_bonus) <= MAX_LM_BONUS:
            raise BadOption(f"lm_bonus is {lm_bonus:g}; allowed is -{MAX_LM_BONUS:g} to {MAX_LM_BONUS:g}")
        if not 0.0 <= lodr_weight <= MAX_LM_WEIGHT:
            raise BadOption(f"lodr_weight is {lodr_weight:g}; allowed is 0 to {MAX_LM_WEIGHT:g}")
        self.graph = graph
        self.lm = lm
        self.lodr = lodr if lodr_weight else None
        self.lodr_weight = lodr_weight
        self.lm_weight = lm_weight
        self.lm_bonus = lm_bonus
        numbers = self._numbers()
        self.max_gain = float(numbers[MAX_GAIN])  # the most that one token can add
        self._arrays = (*_graph_arrays(graph), *_lm_arrays(lm), *_lodr_arrays(self.lodr), numbers)
        self.start = np.zeros(NUM_STATES, np.int32)
        self.start[LM_STATE] = lm.lm.start_state if lm is not None else 0
        self.start[LODR_STATE] = self.lodr.lm.start_state if self.lodr is not None else 0
        self.handle: NDArray[np.int64] = np.zeros(HANDLE_SIZE, np.int64)
        self.handle[0::2] = [array.ctypes.data for array in self._arrays]
        self.handle[1::2] = [array.size for array in self._arrays]

    def advance(
        self, states: NDArray[np.int32], tokens: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Give each hypothesis (states (N, NUM_STATES)) its token (N,); return gains (N, 2) and the states after it.

        Gains are hotwords and language model, natural logs. Tokens must be of the bias's token table, and none that
        writes nothing.
        """
        return batch.advance(self.handle, states, tokens)

    def finish(self, states: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return what ending a segment here adds to each hypothesis: gains (N, 2), hotwords and language model."""
        return batch.finish(self.handle, states)

    def with_graph(self, graph: ContextGraph | None) -> Bias:
        """Return the same with other hotwords."""
        return Bias(
            graph,
            self.lm,
            lm_weight=self.lm_weight,
            lm_bonus=self.lm_bonus,
            lodr=self.lodr,
            lodr_weight=self.lodr_weight,
        )

    def _numbers(self) -> NDArray[np.float64]:
        """See the places in steps.py. A piece may end several words, but only a freak of a table has such pieces."""
        numbers = np.zeros(NUM_NUMBERS)
        numbers[:3] = 0.0 if self.graph is None else self.graph.max_gain, self.lm_weight, self.lm_bonus
        if self.lm is not None:
            numbers[0] += max(0.0, self.lm_bonus) * _most_words(self.lm)
            if self.lm.level == "word":
                numbers[0] += max(0.0, self.lm_weight * _likeliest_unknown(self.lm.lm) + self.lm_bonus)
            numbers[3:5] = self.lm.lm.unknown_word, self.lm.lm.end_word
        if self.lodr is not None:
            numbers[LODR_WEIGHT] = self.lodr_weight
            numbers[MAX_GAIN] -= self.lodr_weight * self.lodr.lowest
        return numbers


def _most_words(lm: FittedLm) -> int:
    """Return how many words one token can end."""
    if lm.level == "token":
        return 1
    boundaries = np.concatenate([[0], np.cumsum(lm.chars == 0)])
    return int(np.diff(boundaries[lm.first_char]).max(initial=0))


def _likeliest_unknown(lm: NgramLm | HashedLm) -> float:
    """Return a natural log-probability that the unknown word has at most, after any words."""
    if isinstance(lm, HashedLm):
        return 0.0
    highest_backoff = max(0.0, float(lm.backoff.max()))
    return min(0.0, float(lm.unigram_log_probs[lm.unknown_word]) + (lm.order - 1) * highest_backoff)


def _graph_arrays(graph: ContextGraph | None) -> tuple[_Array, ...]:
    if graph is None:
        return _INTS, _INTS, _INTS, _INTS, _FLOATS, _FLOATS
    return _contiguous(graph.token, graph.first_child, graph.fail, graph.landing, graph.total, graph.gain)


def _lm_arrays(fitted: FittedLm | None) -> tuple[_Array, ...]:
    if fitted is None:
        return *_NO_ARCS, *_NO_HASHES, *(_INTS,) * 6
    return *_grams(fitted.lm), *_contiguous(
        fitted.token_word, fitted.first_char, fitted.chars, fitted.word_char, fitted.word_first_child, fitted.word_of
    )


def _grams(lm: NgramLm | HashedLm) -> tuple[_Array, ...]:
    if isinstance(lm, HashedLm):
        # `histories` must be the model's own: searches write to it.
        return *_NO_ARCS, lm.cells, lm.floats, lm.tables, lm.histories
    arcs = _contiguous(lm.backoff, lm.shorter, lm.first_arc, lm.arc_word, lm.arc_log_prob, lm.arc_next)
    return *arcs, *_NO_HASHES


def _lodr_arrays(lodr: Lodr | None) -> tuple[_Array, ...]:
    if lodr is None:
        return _INTS, _FLOATS, _INTS, _INTS, _FLOATS, _INTS
    grams = lodr.lm
    return _contiguous(
        lodr.token_word, grams.backoff, grams.first_arc, grams.arc_word, grams.arc_log_prob, grams.arc_next
    )


def _contiguous(*arrays: _Array) -> tuple[_Array, ...]:
    return tuple(map(np.ascontiguousarray, arrays))
