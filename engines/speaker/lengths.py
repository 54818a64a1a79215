"""Which utterances may share a batch. Speaker graphs have no length mask, so padding would change the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from speech.errors import BadOption
from speech.features import Features


def equal_lengths(lengths: Sequence[int], max_batch: int) -> list[list[int]]:
    """Group indices by length: batches of at most `max_batch` whose lengths are all the same, shortest first."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        by_length[length].append(index)
    return [
        rows[start : start + max_batch]
        for _, rows in sorted(by_length.items())
        for start in range(0, len(rows), max_batch)
    ]


def repeat_to(features: Features, num_frames: int) -> Features:
    """Lengthen (frames, bins) to `num_frames` by beginning again at the first row, as WeSpeaker's pipelines do.

    Zeros would cost far more: cosine 0.95 at one and a half times the length, repetition 0.99. Never shortens.
    """
    if not 1 <= len(features) <= num_frames:
        raise BadOption(f"{len(features)} frames cannot be repeated to {num_frames}")
    return np.resize(features, (num_frames, features.shape[1]))
