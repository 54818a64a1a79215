"""The best tokens of each encoder frame, for graphs that score the whole vocabulary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.ort import Array

DEFAULT_CANDIDATES = 10


def top_k(log_probs: Array, count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Return the `count` best of the last axis, descending, as (..., count) float32 and int32 ids."""
    count = min(count, log_probs.shape[-1])
    # A threshold first, then a sort of what passed: sorting 5000 values per frame costs ten times as much.
    best = np.argpartition(log_probs, -count, axis=-1)[..., -count:]
    values = np.take_along_axis(log_probs, best, axis=-1)
    order = np.argsort(-values, axis=-1, kind="stable")
    ids = np.take_along_axis(best, order, axis=-1).astype(np.int32)
    return np.take_along_axis(values, order, axis=-1).astype(np.float32), ids
