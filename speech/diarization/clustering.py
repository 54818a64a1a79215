"""From the embeddings of a recording's pieces to speakers: chooses the method, mends its result, numbers speakers."""

from __future__ import annotations

import numpy as np

from speech.diarization.agglomerative import agglomerative_labels
from speech.diarization.condense import condense, distinct
from speech.diarization.graph import Check, Vectors, neighbour_graph, no_check, unit_rows
from speech.diarization.options import ClusteringOptions
from speech.diarization.spectral import Labels, spectral_labels
from speech.errors import BadOption


def cluster(
    embeddings: Vectors,
    options: ClusteringOptions,
    *,
    min_speakers: int = 1,
    max_speakers: int | None = None,
    check: Check = no_check,
) -> Labels:
    """Give each row (n, dim) a speaker, (n,) int64, numbered by first appearance in the order of the rows.

    With fewer rows than `min_speakers`, each is a speaker. `check` is called often and may raise, which ends the
    work. Raises BadOption for rows that are not finite numbers.
    """
    if not np.isfinite(embeddings).all():
        raise BadOption("embeddings must be finite numbers")
    at_least = min(min_speakers, len(embeddings))
    if len(embeddings) <= max(options.single_below if at_least <= 1 else 0, 1) or max_speakers == 1:
        return np.zeros(len(embeddings), np.int64)
    units = unit_rows(embeddings)
    points, members = _gathered(units, options, at_least, check)
    labels = _labels(points, options, at_least, max_speakers, check)[members]
    labels = absorb_minor(units, labels, options.minor_size, at_least)
    labels = join_similar(units, labels, options.merge_cosine, at_least, max_speakers)
    return by_appearance(labels)


def _gathered(units: Vectors, options: ClusteringOptions, at_least: int, check: Check) -> tuple[Vectors, Labels]:
    """The unit rows to cluster, `at_least` of them, and which of them each row is, (n,)."""
    points, members = units, np.arange(len(units))
    if len(units) > options.max_points:
        points, members = condense(units, options.max_points // 2, check)
    if options.repeat_cosine <= 1.0:
        once, again = distinct(points, options.repeat_cosine, check)
        if len(once) >= at_least:
            points, members = once, again[members]
    return points, members


def _labels(
    units: Vectors, options: ClusteringOptions, at_least: int, max_speakers: int | None, check: Check
) -> Labels:
    if len(units) < max(options.agglomerate_below, 2):
        return agglomerative_labels(units, options.agglomerative_cosine, at_least, max_speakers)
    at_most = min(options.max_by_gap if max_speakers is None else max_speakers, len(units))
    graph = neighbour_graph(units, options.affinity, check)
    return spectral_labels(
        graph, at_least, max(at_most, at_least), restarts=options.restarts, seed=options.seed, check=check
    )


def centroids(units: Vectors, labels: Labels) -> Vectors:
    """Unit mean vectors (speakers, dim) of unit rows; labels must be 0 to speakers - 1, each used."""
    sums = np.zeros((int(labels.max()) + 1, units.shape[1]), np.float64)
    np.add.at(sums, labels, units)
    return unit_rows(sums)


def absorb_minor(units: Vectors, labels: Labels, size: int, at_least: int = 1) -> Labels:
    """Give clusters of up to `size` rows to the nearest larger one; when none is larger, all are one speaker.

    The largest `at_least` clusters are never given away.
    """
    labels = _compact(labels)
    counts = np.bincount(labels)
    is_major = counts > size
    is_major[np.argsort(-counts, kind="stable")[: max(at_least, 1)]] = True
    if is_major.all():
        return labels
    major = np.flatnonzero(is_major)
    nearest = major[np.argmax(units @ centroids(units, labels)[major].T, axis=1)]
    return _compact(np.where(is_major[labels], labels, nearest))


def join_similar(
    units: Vectors, labels: Labels, cosine: float, at_least: int = 1, at_most: int | None = None
) -> Labels:
    """Join the two most similar clusters, by centroid, again and again while they reach `cosine` or are too many."""
    labels = _compact(labels)
    sums = np.zeros((int(labels.max()) + 1, units.shape[1]), np.float64)
    np.add.at(sums, labels, units)
    owner = np.arange(len(sums))
    while len(sums) > max(at_least, 1):
        centres = unit_rows(sums)
        similar = centres @ centres.T
        np.fill_diagonal(similar, -np.inf)
        kept, gone = sorted(int(index) for index in np.unravel_index(np.argmax(similar), similar.shape))
        if similar[kept, gone] < cosine and (at_most is None or len(sums) <= at_most):
            break
        sums[kept] += sums[gone]
        sums = np.delete(sums, gone, axis=0)
        owner = np.where(owner == gone, kept, owner - (owner > gone))
    return np.asarray(owner[labels], np.int64)


def by_appearance(labels: Labels) -> Labels:
    """Number labels 0, 1, ... in the order in which they first occur."""
    found, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first)] = np.arange(len(found))
    return rank[inverse]


def _compact(labels: Labels) -> Labels:
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.int64)
