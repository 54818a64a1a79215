"""Compiled: which rows the networks must compute, and decoder outputs remembered by context.

The decoder is stateless: its output depends on the last tokens alone, whichever stream they are of. A table with one
place per hash value remembers outputs; a newcomer takes the place of whoever is there.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from speech.search.pool import compiled
from speech.search.transducer.layout import NUM_HYPS


@compiled
def place_of(context, num_places):
    """Return the context's place in the table (FNV-1a over the tokens)."""
    value = np.uint64(14695981039346656037)
    for token in context:
        value = (value ^ np.uint64(np.int64(token) + 1)) * np.uint64(1099511628211)
    return np.int64((value ^ (value >> np.uint64(29))) % np.uint64(num_places))


@compiled
def is_same(one, other):
    """Whether two contexts are equal."""
    for i in range(one.shape[0]):  # noqa: SIM110 - numba knows no all()
        if one[i] != other[i]:
            return False
    return True


@compiled
def collect_rows(numbers, contexts, slots, pending, table, row_batch, row_hyp, row_place, missing):
    """List the hypotheses of all pending batch rows: their batch row, number, and place in the table.

    `missing[:n]` are the rows whose decoder output is not at its place. Returns (rows, n).
    """
    num_rows = 0
    num_missing = 0
    for b in range(slots.shape[0]):
        if not pending[b]:
            continue
        s = slots[b]
        for h in range(numbers[s, NUM_HYPS]):
            place = place_of(contexts[s, h], table.shape[0])
            row_batch[num_rows] = b
            row_hyp[num_rows] = h
            row_place[num_rows] = place
            if not is_same(table[place], contexts[s, h]):
                missing[num_missing] = num_rows
                num_missing += 1
            num_rows += 1
    return num_rows, num_missing


@compiled
def extend_context(context, token, out):
    """Write `context` with its oldest token dropped and `token` added."""
    size = context.shape[0]
    for i in range(size - 1):
        out[i] = context[i + 1]
    out[size - 1] = token
