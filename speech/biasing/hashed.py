"""A back-off n-gram language model in KenLM's probing hash tables; `speech/biasing/kenlm.py` reads one.

The tables hold hashes of n-grams, so the n-grams cannot be listed; searches look them up where they lie
(`speech/biasing/hashed_steps.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.errors import BadLanguageModel

FIRST_CELL, NUM_BUCKETS, BUCKET_CELLS, FIRST_STATE, FIRST_HISTORY, NUM_COLUMNS = range(6)
"""Columns of `HashedLm.tables`, a row per order."""


@dataclass(frozen=True, slots=True, eq=False)
class HashedLm:
    """Words by number and states by history, as in `NgramLm`; any number of threads and searches may share one.

    `cells` int32 and `floats` float32 are two views of the file's tables. `tables` int64 (order, NUM_COLUMNS): where an
    order's buckets begin, their number and size in cells, the number of the state of the first, and where its history
    begins. A unigram's bucket is (log10 probability, back-off), another's (key, key, log10 probability, back-off), the
    highest order's without the back-off. State 0 is the empty history. `histories` int32: the words of states, newest
    first, which a search writes when it comes to a state; always the same ones, so that no lock is needed.
    """

    words: tuple[str, ...]
    num_ngrams: int
    start_state: int
    unknown_word: int
    end_word: int  # -1: the model has no </s>
    cells: NDArray[np.int32]
    floats: NDArray[np.float32]
    tables: NDArray[np.int64]
    histories: NDArray[np.int32]

    @property
    def order(self) -> int:
        """Words in the longest n-grams."""
        return len(self.tables)

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays, words left out; `histories` takes its share only as it fills."""
        return self.cells.nbytes + self.histories.nbytes

    @property
    def unigram_log_probs(self) -> NDArray[np.float32]:
        """Log10 probability of each word; the sign of the stored one says something else."""
        first = int(self.tables[0, FIRST_CELL])
        return -np.abs(self.floats[first : first + 2 * len(self.words) : 2])


def number_states(places: list[tuple[int, int, int]]) -> tuple[NDArray[np.int64], int]:
    """Return `HashedLm.tables` of (first cell, buckets, cells per bucket) by order, and the length of `histories`.

    Raises BadLanguageModel for more states than an int32 counts.
    """
    tables = np.zeros((len(places), NUM_COLUMNS), np.int64)
    state, history = 1, 0
    for row, (first_cell, num_buckets, bucket_cells) in enumerate(places):
        tables[row] = first_cell, num_buckets, bucket_cells, state, history
        if row < len(places) - 1:  # the highest order's n-grams are no histories
            state += num_buckets
            history += (row + 1) * num_buckets
    if state > np.iinfo(np.int32).max:
        raise BadLanguageModel(f"the KenLM binary has room for {state} histories; at most 2147483647 can be numbered")
    return tables, history
