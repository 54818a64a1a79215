"""Cut a long segment in its pauses, so that what reads it whole gets no more than it learned to read."""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_SHARE = 0.25  # of the longest allowed piece: shorter ones have too little around them


def cut_in_pauses(times: Sequence[int], may_begin: Sequence[bool], frames: int, most: int) -> list[tuple[int, int]]:
    """Return (first frame, end frame) of pieces of at most `most` frames, where the words allow that.

    `times` are a hypothesis's token times in frames, `may_begin` says which tokens begin a word: a cut lies half way
    between such a token and the one before, where the gap is longest.
    """
    gaps = [
        (times[index] - times[index - 1], (times[index] + times[index - 1] + 1) // 2)
        for index in range(1, len(times))
        if may_begin[index] and times[index] > times[index - 1]
    ]
    return _cut(gaps, 0, frames, most)


def _cut(gaps: list[tuple[int, int]], begin: int, end: int, most: int) -> list[tuple[int, int]]:
    least = int(_LEAST_SHARE * most)
    inside = [(gap, place) for gap, place in gaps if begin + least <= place <= end - least]
    if end - begin <= most or not inside:
        return [(begin, end)]
    _, place = max(inside)
    return _cut(gaps, begin, place, most) + _cut(gaps, place, end, most)
