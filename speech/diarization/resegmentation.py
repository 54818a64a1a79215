"""Looks again at every piece once the speakers are known: nearest centroid, with a price for changing the speaker."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from speech.diarization.clustering import centroids
from speech.diarization.graph import Vectors
from speech.diarization.spectral import Labels
from speech.diarization.vad import Region

# Cosines of one piece to several speakers are compared as softmax(10 * cosine): 0.1 apart is 73 % to 27 %.
SHARPNESS = 10.0
ROUNDS = 2


def resegmented(units: Vectors, labels: Labels, pieces: Sequence[Region], switch_cost: float) -> Labels:
    """Give new labels to unit rows (n, dim): the path of greatest total cosine to the centroids, less the changes.

    Changes are free where a pause lies between two pieces. A speaker that would lose all pieces keeps its old ones.
    """
    count = int(labels.max()) + 1 if len(labels) else 0
    if count < 2:
        return labels
    costs = np.array([switch_cost if right.begin < left.end else 0.0 for left, right in pairwise(pieces)])
    for _ in range(ROUNDS):
        new = _best_path(units @ centroids(units, labels).T, costs)
        if len(np.unique(new)) < count or np.array_equal(new, labels):
            break
        labels = new
    return labels


def confidences(units: Vectors, labels: Labels) -> npt.NDArray[np.float32]:
    """How clearly each row is its speaker's, (n,) in [0, 1]: its share in softmax(10 * cosine to the centroids)."""
    if not len(units):
        return np.zeros(0, np.float32)
    scores = SHARPNESS * (units @ centroids(units, labels).T)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares[np.arange(len(units)), labels] / shares.sum(axis=1), np.float32)


def _best_path(scores: Vectors, costs: npt.NDArray[np.float64]) -> Labels:
    """Viterbi: `scores` (n, speakers), `costs` (n - 1,) of a change between neighbours."""
    num_rows, num_speakers = scores.shape
    speakers = np.arange(num_speakers)
    back = np.empty((num_rows, num_speakers), np.int64)
    total = scores[0].astype(np.float64)
    for row in range(1, num_rows):
        best = int(np.argmax(total))
        changes = total[best] - costs[row - 1] > total
        back[row] = np.where(changes, best, speakers)
        total = np.where(changes, total[best] - costs[row - 1], total) + scores[row]
    labels = np.empty(num_rows, np.int64)
    labels[-1] = np.argmax(total)
    for row in range(num_rows - 1, 0, -1):
        labels[row - 1] = back[row, labels[row]]
    return labels
