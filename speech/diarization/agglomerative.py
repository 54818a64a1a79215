"""Agglomerative clustering with average linkage on cosines: needs no neighbours to count, so it suits short files."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import cut_tree, fcluster, linkage
from scipy.spatial.distance import pdist

from speech.diarization.graph import Vectors
from speech.diarization.spectral import Labels

# fcluster joins at distances up to and including its limit; ours keeps what is below the cosine apart.
ROUNDING = 1e-9


def agglomerative_labels(units: Vectors, cosine: float, at_least: int, at_most: int | None) -> Labels:
    """Join the closest clusters of unit rows (n, dim) while their average cosine is at least `cosine`.

    The number of clusters stays within the range. O(n * n) memory: for few points, or representatives of many.
    """
    if len(units) < 2:
        return np.zeros(len(units), np.int64)
    tree = linkage(pdist(units.astype(np.float64), "cosine"), "average")
    labels = np.asarray(fcluster(tree, 1.0 - cosine + ROUNDING, "distance"), np.int64)
    count = int(labels.max())
    wanted = max(count, min(at_least, len(units)))
    wanted = wanted if at_most is None else min(wanted, at_most)
    if wanted != count:
        return np.asarray(cut_tree(tree, n_clusters=[wanted]).ravel(), np.int64)
    return labels - 1
