"""Cut a long segment in its pauses, so that what reads it whole gets no more than it learned to read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LEAST_SHARE = 0.25  # of the longest allowed piece: shorter ones have too little around them
_SMOOTH_FRAMES = 5  # 200 ms of 40 ms frames: a pause between words is longer than what is quiet within one
_AS_QUIET = 0.5  # natural logs of energy above the quietest place that count as quiet as that


def cut_in_pauses(
    times: Sequence[int],
    may_begin: Sequence[bool],
    frames: int,
    most: int,
    loudness: NDArray[np.float32] | None = None,
) -> list[tuple[int, int]]:
    """Return (first frame, end frame) of pieces of at most `most` frames, where the words allow that.

    `times` are a hypothesis's token times in frames, `may_begin` says which tokens begin a word: a cut lies half way
    between such a token and the one before, where the gap is longest. With `loudness` (frames,), natural logs of
    energy, it lies where the gap is quietest: the hypothesis may have left out words there.
    """
    if frames <= most:
        return [(0, frames)]
    smooth = None if loudness is None else _smoothed(loudness)
    gaps = [
        (times[index] - times[index - 1], _place(times[index - 1], times[index], smooth))
        for index in range(1, len(times))
        if may_begin[index] and times[index] > times[index - 1]
    ]
    return _cut(gaps, 0, frames, most)


def loudness(features: NDArray[np.float32], subsampling: int, frames: int) -> NDArray[np.float32]:
    """Return how loud log-mel features (n, bins) are by encoder frame, (frames,); n >= frames * subsampling."""
    used = features[: frames * subsampling].mean(axis=1)
    mean: NDArray[np.float32] = used.reshape(frames, subsampling).mean(axis=1)
    return mean


def _smoothed(loudness: NDArray[np.float32]) -> NDArray[np.float32]:
    side = _SMOOTH_FRAMES // 2
    return np.convolve(np.pad(loudness, side, "edge"), np.full(_SMOOTH_FRAMES, 1 / _SMOOTH_FRAMES, np.float32), "valid")


def _place(before: int, after: int, loudness: NDArray[np.float32] | None) -> int:
    """Where to cut after one token's time and not after the next one's."""
    middle = (before + after + 1) // 2
    if loudness is None:
        return middle
    inside = loudness[before + 1 : after + 1]
    quiet = before + 1 + np.flatnonzero(inside <= inside.min() + _AS_QUIET)
    return int(quiet[np.abs(quiet - middle).argmin()])


def _cut(gaps: list[tuple[int, int]], begin: int, end: int, most: int) -> list[tuple[int, int]]:
    least = int(_LEAST_SHARE * most)
    inside = [(gap, place) for gap, place in gaps if begin + least <= place <= end - least]
    if end - begin <= most or not inside:
        return [(begin, end)]
    _, place = max(inside)
    return _cut(gaps, begin, place, most) + _cut(gaps, place, end, most)
