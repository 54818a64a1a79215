"""Fewer rows to cluster: hours of audio are gathered into groups, and what is played again counts once."""

from __future__ import annotations

import numpy as np

from speech.diarization.graph import Check, Vectors, no_check, unit_rows
from speech.diarization.spectral import Labels

ROUNDS = 8
BLOCK_ROWS = 1024


def condense(units: Vectors, count: int, check: Check = no_check) -> tuple[Vectors, Labels]:
    """Spherical k-means of unit rows (n, dim) from evenly spaced ones: `count` unit rows at most, and (n,) labels.

    Memory is O(n + block * count). Deterministic. `check` is called between blocks and may raise.
    """
    centres = units[np.linspace(0, len(units) - 1, count).astype(np.int64)]
    labels = np.zeros(len(units), np.int64)
    for _ in range(ROUNDS):
        before = labels
        labels = _nearest(units, centres, check)
        sums = np.zeros((len(centres), units.shape[1]), np.float64)
        np.add.at(sums, labels, units)
        used = np.bincount(labels, minlength=len(centres)) > 0
        labels = (np.cumsum(used) - 1)[labels]
        centres = unit_rows(sums[used])
        if np.array_equal(before, labels):
            break
    return centres, labels


def distinct(units: Vectors, cosine: float, check: Check = no_check) -> tuple[Vectors, Labels]:
    """Unit rows (n, dim) less those that repeat an earlier one, at least `cosine` alike, and (n,) labels into the rest.

    O(n * n) time at most: for rows that were condensed before. `check` is called often and may raise.
    """
    kept = np.empty_like(units)
    count = 0
    labels = np.empty(len(units), np.int64)
    for row, unit in enumerate(units):
        check()
        similar = kept[:count] @ unit
        best = int(np.argmax(similar)) if count else 0
        if not count or similar[best] < cosine:
            kept[count], best = unit, count
            count += 1
        labels[row] = best
    return kept[:count], labels


def _nearest(units: Vectors, centres: Vectors, check: Check) -> Labels:
    labels = np.empty(len(units), np.int64)
    for begin in range(0, len(units), BLOCK_ROWS):
        check()
        rows = slice(begin, begin + BLOCK_ROWS)
        labels[rows] = np.argmax(units[rows] @ centres.T, axis=1)
    return labels
