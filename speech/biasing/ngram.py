"""A back-off n-gram language model as a finite automaton in flat arrays; `speech/biasing/arpa.py` reads one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.errors import BadLanguageModel

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
UNKNOWN_LOG10 = -100.0
"""What a word outside a model without <unk> has, as in KenLM."""


@dataclass(frozen=True, slots=True, eq=False)
class NgramLm:
    """Words by number and states by history. Immutable: any number of threads and searches may share one.

    A state is a history that some n-gram goes on from; state 0 is the empty one, `start_state` that of <s>. Of a
    state s: `first_arc` (states + 1,) int32 bounds its arcs, `backoff` float32 and `shorter` int32 say what falling
    back costs and where it leads. Of an arc: `arc_word` int32, ascending within a state, `arc_log_prob` float32,
    `arc_next` int32. The arcs of state 0 are all words in order. Natural logs throughout.
    """

    order: int
    words: tuple[str, ...]
    start_state: int
    backoff: NDArray[np.float32]
    shorter: NDArray[np.int32]
    first_arc: NDArray[np.int32]
    arc_word: NDArray[np.int32]
    arc_log_prob: NDArray[np.float32]
    arc_next: NDArray[np.int32]
    unknown_word: int
    end_word: int  # -1: the model has no </s>

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays, words left out."""
        arrays = (self.backoff, self.shorter, self.first_arc, self.arc_word, self.arc_log_prob, self.arc_next)
        return sum(array.nbytes for array in arrays)

    @property
    def unigram_log_probs(self) -> NDArray[np.float32]:
        """Log-probability of each word by itself."""
        return self.arc_log_prob[: len(self.words)]

    @property
    def num_ngrams(self) -> int:
        """N-grams of all orders."""
        return len(self.arc_word)


@dataclass(frozen=True, slots=True, eq=False)
class Ngrams:
    """All n-grams of one order: `ids` (count, order) int32 word numbers in reading order, natural logs float32."""

    ids: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    backoffs: NDArray[np.float32]


def build_lm(words: tuple[str, ...], orders: list[Ngrams]) -> NgramLm:
    """Make the automaton of n-grams by order, unigrams (one for every word, in order) first.

    Raises BadLanguageModel for a model without words, for n-grams given twice, and for ones whose beginning is missing.
    """
    if not words:
        raise BadLanguageModel("the language model has no words")
    lookup = _Histories(orders)
    sources, found_words, log_probs, following = [], [], [], []
    for order, grams in enumerate(orders, start=1):
        sources.append(lookup.states(grams.ids[:, :-1], order))
        found_words.append(grams.ids[:, -1])
        log_probs.append(grams.log_probs)
        following.append(lookup.longest(grams.ids[:, max(0, order + 1 - len(orders)) :]))
    source = np.concatenate(sources)
    word = np.concatenate(found_words)
    by_state = np.lexsort((word, source))
    source, word = source[by_state], word[by_state]
    if np.any((np.diff(source) == 0) & (np.diff(word) == 0)):
        raise BadLanguageModel("the language model lists an n-gram twice")
    names = {name: number for number, name in enumerate(words)}
    start = names.get(START)
    return NgramLm(
        order=len(orders),
        words=words,
        start_state=0 if start is None else int(lookup.longest(np.array([[start]], np.int32))[0]),
        backoff=lookup.backoffs,
        shorter=lookup.shorter,
        first_arc=np.searchsorted(source, np.arange(len(lookup.backoffs) + 1)).astype(np.int32),
        arc_word=word.astype(np.int32),
        arc_log_prob=np.concatenate(log_probs)[by_state].astype(np.float32),
        arc_next=np.concatenate(following)[by_state].astype(np.int32),
        unknown_word=names[UNKNOWN],
        end_word=names.get(END, -1),
    )


class _Histories:
    """The states, a tree: one per n-gram below the highest order, child of its history by its last word.

    `keys[k]` (parent state << 32 | word) ascend for n-grams of order k + 1, whose states are `states[k]`.
    """

    def __init__(self, orders: list[Ngrams]) -> None:
        self._keys: list[NDArray[np.int64]] = []
        self._states: list[NDArray[np.int32]] = []
        backoffs, first = [np.zeros(1, np.float32)], 1
        for order, grams in enumerate(orders[:-1], start=1):
            keys = self.states(grams.ids[:, :-1], order).astype(np.int64) << 32 | grams.ids[:, -1]
            by_key = np.argsort(keys)
            self._keys.append(keys[by_key])
            self._states.append((by_key + first).astype(np.int32))
            backoffs.append(grams.backoffs)
            first += len(keys)
        self.backoffs = np.concatenate(backoffs).astype(np.float32)
        shorter = [np.zeros(1, np.int32)] + [self.longest(grams.ids[:, 1:]) for grams in orders[:-1]]
        self.shorter = np.concatenate(shorter)

    def states(self, ids: NDArray[np.int32], order: int) -> NDArray[np.int32]:
        """Return the states of whole histories (count, order - 1). Raises BadLanguageModel for one that is missing."""
        found = self._find(ids)
        missing = int((found < 0).sum())
        if missing:
            raise BadLanguageModel(f"{missing} {order}-grams of the language model begin with what is no n-gram of it")
        return found

    def longest(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the state of the longest suffix of each row that is one; 0 where none is."""
        result = np.zeros(len(ids), np.int32)
        todo = np.arange(len(ids))
        for begin in range(ids.shape[1]):
            found = self._find(ids[todo, begin:])
            result[todo] = np.maximum(found, 0)
            todo = todo[found < 0]
        return result

    def _find(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the state of each row, -1 where it is none; as many columns as there are levels at most."""
        found = np.zeros(len(ids), np.int32)
        for column, keys, states in zip(ids.T, self._keys, self._states, strict=False):
            if not len(keys):
                return np.full(len(ids), -1, np.int32)
            wanted = found.astype(np.int64) << 32 | column
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            found = np.where((keys[at] == wanted) & (found >= 0), states[at], -1).astype(np.int32)
        return found
