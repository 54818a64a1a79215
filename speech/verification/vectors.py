"""Comparing speaker vectors: cosines, means, and how well the voices of one speaker agree."""

import numpy as np
import numpy.typing as npt

from speech.errors import BadOption

Vectors = npt.NDArray[np.float32]
"""(n, dimension) float32, or (dimension,) where the text says one vector."""

MIN_NORM = 1e-12


def unit(vectors: Vectors) -> Vectors:
    """Scale each vector, along the last axis, to length 1. Raises BadOption for zero and non-finite ones."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > MIN_NORM).all()):
        raise BadOption("a speaker vector is all zero or not finite: it has no direction to compare")
    scaled: Vectors = (wide / norms).astype(np.float32)
    return scaled


def cosine(first: Vectors, second: Vectors) -> float:
    """Return the cosine of two vectors, in [-1, 1]. Raises BadOption as `unit` does."""
    return float(np.clip(np.dot(unit(first), unit(second)), -1.0, 1.0))


def centre(vectors: Vectors) -> Vectors:
    """Return the direction of one speaker's vectors (n, dimension): the mean of the unit vectors, of length 1.

    Every voice counts the same, however long its vector is. Raises BadOption where the vectors cancel out.
    """
    return unit(unit(vectors).mean(axis=0))


def consistency(vectors: Vectors) -> float:
    """Return the least cosine of a vector to the mean of the others, 1 for a single one: the speaker's odd voice."""
    if len(vectors) < 2:
        return 1.0
    units = unit(vectors).astype(np.float64)
    others = units.sum(axis=0) - units
    norms = np.maximum(np.linalg.norm(others, axis=1), MIN_NORM)
    return float(((units * others).sum(axis=1) / norms).min())
