"""Pieces cover the segment, lie between words, and are as short as the pauses allow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.search.pauses import cut_in_pauses, loudness


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=40), st.integers(20, 200), st.booleans())
def test_pieces_cover_everything_and_cut_between_words_only(
    steps: list[tuple[int, bool]], most: int, is_heard: bool
) -> None:
    times, may_begin, now = [], [], 0
    for gap, begins in steps:
        now += gap
        times.append(now)
        may_begin.append(begins)
    frames = now + 10
    loud = np.random.default_rng(most).normal(size=frames).astype(np.float32) if is_heard else None
    pieces = cut_in_pauses(times, may_begin, frames, most, loud)
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


@pytest.mark.parametrize(("quiet", "cut"), [((60, 66), 62), ((32, 38), 34), ((20, 25), 50)])
def test_a_cut_lies_where_it_is_quiet(quiet: tuple[int, int], cut: int) -> None:
    """Words that the hypothesis left out are in the gap too: the pause need not be in its middle, nor outside of it."""
    times = [10, 20, 30, 70, 80, 90, 100, 110]
    loud = np.full(120, 8.0, np.float32)
    loud[slice(*quiet)] = 1.0
    (_, end), _ = cut_in_pauses(times, [True] * 8, 120, 100, loud)
    assert abs(end - cut) <= 2


def test_where_all_is_as_quiet_the_middle_is_taken() -> None:
    times, quiet = [10, 20, 30, 70, 80, 90, 100, 110], np.zeros(120, np.float32)
    assert cut_in_pauses(times, [True] * 8, 120, 100, quiet) == [(0, 50), (50, 120)]


def test_loudness_is_that_of_each_encoder_frames_own_features() -> None:
    features = np.arange(4 * 11, dtype=np.float32).reshape(11, 4)
    rows = [features[start : start + 4].mean() for start in (0, 4)]
    assert loudness(features, 4, 2).tolist() == pytest.approx(rows)
