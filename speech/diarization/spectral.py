"""Spectral clustering with the number of clusters read from the eigenvalues' largest gap.

Unnormalised Laplacian, as WeSpeaker and 3D-Speaker use it. The eigenvalues at zero, one for each connected part of
the graph, are counted and their vectors written down exactly; only the others need Lanczos, which could miss repeated
ones. Source: von Luxburg, A Tutorial on Spectral Clustering, 2007, proposition 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy import sparse
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from speech.diarization.graph import Check, no_check

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Below this many points a dense solver is quicker than Lanczos, and ARPACK wants more points than vectors.
DENSE_BELOW = 64


def spectral_labels(
    graph: sparse.csr_array,
    at_least: int,
    at_most: int,
    *,
    restarts: int = 10,
    seed: int = 0,
    check: Check = no_check,
) -> Labels:
    """Cut `graph` (n, n) into `at_least` to `at_most` clusters; labels (n,) are in no particular order.

    A graph in more than `at_most` parts is not cut further: its parts are given, and joining them is the caller's.
    """
    num_parts, parts = connected_components(graph, directed=False)
    if num_parts >= at_most:
        return np.asarray(parts, np.int64)
    num_points = graph.shape[0]
    values, vectors = smallest_eigenpairs(graph, min(at_most + 1, num_points), seed=seed, check=check)
    count = gap_count(values, at_least, at_most)
    if count == num_parts:
        return np.asarray(parts, np.int64)
    return kmeans_labels(vectors[:, :count], count, restarts=restarts, seed=seed, check=check)


def gap_count(values: Floats, at_least: int, at_most: int) -> int:
    """The number of eigenvalues (ascending) before the largest gap, within the range."""
    gaps = np.diff(values)[at_least - 1 : at_most]
    return at_least + int(np.argmax(gaps)) if len(gaps) else min(at_least, len(values))


def smallest_eigenpairs(
    graph: sparse.csr_array, count: int, *, seed: int = 0, check: Check = no_check
) -> tuple[Floats, Floats]:
    """Give the `count` smallest eigenvalues (count,) of the graph's Laplacian, ascending, and vectors (n, count).

    `check` is called before every product with the matrix and may raise, which ends the work.
    """
    num_points = graph.shape[0]
    degrees = np.asarray(abs(graph).sum(axis=1)).ravel()
    laplacian = sparse.csr_array(sparse.diags_array(degrees) - graph)
    num_parts, parts = connected_components(graph, directed=False)
    if num_points < max(DENSE_BELOW, count + num_parts + 2):
        check()
        values, vectors = np.linalg.eigh(laplacian.toarray())
        return values[:count], vectors[:, :count]
    null = _part_vectors(parts, num_parts)
    if num_parts >= count:
        return np.zeros(count), null[:, :count].toarray()
    values, vectors = _lanczos(laplacian, null, count - num_parts, float(2.0 * degrees.max() + 1.0), seed, check)
    return np.concatenate([np.zeros(num_parts), values]), np.hstack([null.toarray(), vectors])


def _part_vectors(parts: npt.NDArray[np.int32], num_parts: int) -> sparse.csr_array:
    """Orthonormal vectors of eigenvalue zero, (n, num_parts): each is constant on one part."""
    sizes = np.bincount(parts, minlength=num_parts)
    num_points = len(parts)
    return sparse.csr_array((1.0 / np.sqrt(sizes[parts]), (np.arange(num_points), parts)), (num_points, num_parts))


def _lanczos(
    laplacian: sparse.csr_array, null: sparse.csr_array, count: int, shift: float, seed: int, check: Check
) -> tuple[Floats, Floats]:
    """The smallest eigenpairs outside `null`, whose own eigenvalues `shift` moves above all others."""

    def product(vector: Floats) -> Floats:
        check()
        moved: Floats = laplacian @ vector + shift * (null @ (null.T @ vector))
        return moved

    num_points = laplacian.shape[0]
    operator: Any = LinearOperator((num_points, num_points), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(num_points)
    width = min(num_points - 1, max(4 * count + 1, 40))
    try:
        values, vectors = eigsh(operator, k=count, which="SA", v0=start, ncv=width, tol=1e-6, maxiter=300)
    except ArpackNoConvergence:
        # Eigenvalues too close together for Lanczos: rare, and the dense solver does not care.
        check()
        moved = laplacian.toarray() + shift * (null @ null.T).toarray()
        values, vectors = scipy.linalg.eigh(moved, subset_by_index=(0, count - 1), overwrite_a=True)
    order = np.argsort(values)[:count]
    return values[order], vectors[:, order]


def kmeans_labels(points: Floats, count: int, *, restarts: int, seed: int, check: Check = no_check) -> Labels:
    """The best of `restarts` seeded runs of k-means on rows (n, dim)."""
    best, best_cost = np.zeros(len(points), np.int64), np.inf
    rng = np.random.default_rng(seed)
    for _ in range(restarts if count > 1 else 0):
        check()
        try:
            centres, labels = kmeans2(points, count, iter=100, minit="++", missing="raise", rng=rng)
        except ClusterError:  # this start lost a cluster; another one will not
            continue
        cost = float(((points - centres[labels]) ** 2).sum())
        if cost < best_cost - 1e-12:
            best, best_cost = np.asarray(labels, np.int64), cost
    return best
