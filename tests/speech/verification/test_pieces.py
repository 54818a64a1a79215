"""Pieces of long audio do not depend on how the audio came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.errors import BadOption
from speech.verification.pieces import TAIL_S, PieceCutter, weighted_mean

RATE = 100
LONGEST = 4.0


def cut(audio: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    cutter = PieceCutter(LONGEST, RATE)
    pieces = []
    for part in np.split(audio, sorted(each % (len(audio) + 1) for each in cuts)):
        pieces += cutter.push(part)
    return pieces + cutter.flush()


@given(st.integers(0, 3000), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_packets_give_the_pieces_of_the_whole(length: int, cuts: list[int]) -> None:
    audio = np.arange(length, dtype=np.float32)
    pieces, whole = cut(audio, cuts), cut(audio, [])
    assert [piece.tolist() for piece in pieces] == [piece.tolist() for piece in whole]
    assert np.array_equal(np.concatenate([*pieces, np.zeros(0, np.float32)]), audio)
    assert all(len(piece) <= LONGEST * RATE for piece in pieces)
    assert len(pieces) < 2 or all(len(piece) >= TAIL_S * RATE for piece in pieces)


def test_short_pieces_are_divided_in_the_middle() -> None:
    cutter = PieceCutter(2.0, RATE)
    pieces = cutter.push(np.zeros(450, np.float32)) + cutter.flush()
    assert [len(piece) for piece in pieces] == [100, 100, 100, 150]


def test_pieces_without_a_sample_are_refused() -> None:
    with pytest.raises(BadOption, match="0 s asked for, which is 0 samples"):
        PieceCutter(0.0, RATE)


def test_the_mean_is_weighted() -> None:
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    assert weighted_mean(vectors, [3.0, 1.0]).tolist() == [0.75, 0.25]
