"""Pieces cover the segment, lie between words, and are as short as the pauses allow."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from speech.search.pauses import cut_in_pauses


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=40), st.integers(20, 200))
def test_pieces_cover_everything_and_cut_between_words_only(steps: list[tuple[int, bool]], most: int) -> None:
    times, may_begin, now = [], [], 0
    for gap, begins in steps:
        now += gap
        times.append(now)
        may_begin.append(begins)
    frames = now + 10
    pieces = cut_in_pauses(times, may_begin, frames, most)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == frames
    assert all(left[1] == right[0] for left, right in itertools.pairwise(pieces))
    for _, cut in pieces[:-1]:
        before = [time for time in times if time < cut]
        assert may_begin[len(before)]
    if frames <= most:
        assert len(pieces) == 1


def test_the_longest_pause_is_taken() -> None:
    times = [10, 20, 30, 70, 80, 90, 100, 110]
    assert cut_in_pauses(times, [True] * 8, 120, 100) == [(0, 50), (50, 120)]


def test_words_stay_whole_even_where_a_piece_gets_long() -> None:
    assert cut_in_pauses([10, 60, 110], [True, False, False], 150, 50) == [(0, 150)]
