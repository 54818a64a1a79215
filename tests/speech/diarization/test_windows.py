import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.diarization.options import WindowOptions
from speech.diarization.vad import Region
from speech.diarization.windows import WindowCutter, cut_windows, filled
from speech.errors import BadOption

SECOND = 16000


def cut(length_s: float, **options: float) -> list[tuple[float, float]]:
    region = Region(SECOND, SECOND + round(length_s * SECOND))
    pieces = cut_windows([region], WindowOptions(**options))
    return [(round(each.begin / SECOND - 1, 6), round(each.end / SECOND - 1, 6)) for each in pieces]


def test_a_short_region_is_one_piece() -> None:
    assert cut(0.3) == [(0.0, 0.3)]
    assert cut(1.5) == [(0.0, 1.5)]


def test_pieces_begin_below_length_less_window_plus_period() -> None:
    assert cut(2.25) == [(0.0, 1.5), (0.75, 2.25)]
    assert cut(2.3) == [(0.0, 1.5), (0.75, 2.25), (1.5, 2.3)]


def test_3d_speaker_gives_no_piece_to_regions_up_to_window_less_period() -> None:
    assert cut(0.75, drops_short=True) == []
    assert cut(0.8, drops_short=True) == [(0.0, 0.8)]


@given(st.integers(1, 200_000), st.lists(st.integers(0, 200_000), max_size=8))
def test_a_region_cut_while_it_grows_gives_the_pieces_of_the_whole(length: int, stops: list[int]) -> None:
    options, region = WindowOptions(), Region(700, 700 + length)
    cutter = WindowCutter(options)
    pieces = [p for stop in sorted(stops) if stop < length for p in cutter.grow(Region(700, 700 + stop))]

    assert pieces + cutter.close(region) == cut_windows([region], options)


@given(st.integers(1, 200_000))
def test_the_pieces_cover_their_region(length: int) -> None:
    pieces = cut_windows([Region(0, length)], WindowOptions())

    assert pieces[0].begin == 0
    assert max(piece.end for piece in pieces) == length
    assert all(right.begin <= left.end for left, right in itertools.pairwise(pieces))


def test_short_pieces_are_filled_with_themselves_from_the_beginning() -> None:
    samples = np.arange(3, dtype=np.float32)

    assert filled(samples, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert filled(samples, 2) is samples


def test_a_period_longer_than_the_window_is_refused_with_both() -> None:
    with pytest.raises(BadOption, match=r"period_s is 2; allowed: up to window_s, 1\.5"):
        WindowOptions(period_s=2.0)
