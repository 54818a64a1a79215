"""The neighbourhood graph of embeddings: pruned cosine affinities, built in blocks of rows, stored sparse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from speech.diarization.options import AffinityOptions

Vectors = npt.NDArray[np.float32]
Check = Callable[[], None]
BLOCK_ROWS = 256


def no_check() -> None:
    """For callers that never cancel."""


def unit_rows(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Scale rows (n, dim) to length 1; rows of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)


def num_kept(num_points: int, options: AffinityOptions) -> int:
    """How many entries each row keeps, its own included."""
    if num_points < options.small:
        kept = num_points - max(num_points - options.min_kept, options.min_dropped)
    else:
        kept = max(num_points - int((1.0 - options.share) * num_points), options.min_kept)
    return min(max(kept, 1), num_points)


def neighbour_graph(units: Vectors, options: AffinityOptions, check: Check = no_check) -> sparse.csr_array:
    """Give the symmetric affinity (n, n) float64 of unit rows: each row's largest cosines, mean of both directions.

    The diagonal is zero. Memory is O(n * kept), never n * n. `check` is called between blocks and may raise.
    """
    num_points, kept = len(units), num_kept(len(units), options)
    columns = np.empty((num_points, kept), np.int32)
    weights = np.empty((num_points, kept), np.float64)
    for begin in range(0, num_points, BLOCK_ROWS):
        check()
        rows = slice(begin, begin + BLOCK_ROWS)
        cosines = units[rows] @ units.T
        columns[rows] = np.argpartition(cosines, num_points - kept, axis=1)[:, num_points - kept :]
        weights[rows] = 1.0 if options.is_binary else np.take_along_axis(cosines, columns[rows], axis=1)
    starts = np.arange(num_points + 1, dtype=np.int32) * kept
    directed = sparse.csr_array((weights.ravel(), columns.ravel(), starts), shape=(num_points, num_points))
    directed.setdiag(0.0)
    graph = sparse.csr_array((directed + directed.T) * 0.5)
    graph.eliminate_zeros()
    return graph
