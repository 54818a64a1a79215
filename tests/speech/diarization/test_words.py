"""Who spoke a word, by turns that touch it, share it, or lie beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.diarization.turns import Turn
from speech.diarization.words import NEAR_MS, WordSpeakers
from speech.results import Alternative, Result, Word

# 0 until 4 s, 1 from 3 to 6 s (both from 3 to 4), a pause of 4 s, 0 again from 10 to 12 s.
TURNS = [Turn(0, 4, 0), Turn(3, 6, 1), Turn(10, 12, 0)]


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "before", "speaker"),
    [
        (500, 900, 0, 1),  # inside one turn
        (2800, 3300, 0, 1),  # all of it in the first turn, three fifths in the second
        (3700, 4200, 1, 2),  # all of it in the second, more than in the first, whoever spoke before
        (3200, 3400, 0, 1),  # a tie: who began first
        (3200, 3400, 2, 2),  # a tie: who spoke the word before
        (3200, 3400, 3, 1),  # a tie, and the word before is nobody's of them
        (6400, 6800, 0, 2),  # nearest: the turn before
        (8900, 9300, 0, 1),  # nearest: the turn after
        (7001, 8999, 0, 0),  # more than a second from both
        (7000, 8000, 0, 2),  # a second, and no more
        (12500, 13000, 0, 1),  # after all speech
        (5000, 5000, 0, 2),  # without length
    ],
)
def test_a_word_belongs_to_who_speaks_most_of_it_or_nearest_to_it(
    start_ms: int, end_ms: int, before: int, speaker: int
) -> None:
    assert WordSpeakers(TURNS).speaker(start_ms, end_ms, before) == speaker


def test_several_turns_of_a_speaker_add_up() -> None:
    speakers = WordSpeakers([Turn(0, 0.4, 0), Turn(0.4, 1.0, 1), Turn(1.0, 1.4, 0)])
    assert speakers.speaker(0, 1400) == 1


def test_without_turns_words_are_nobodys() -> None:
    assert WordSpeakers([]).speaker(100, 200) == 0


def test_the_words_of_every_alternative_are_tagged_and_nothing_else_changes() -> None:
    words = (Word("a", 100, 200, 0.5), Word("b", 3200, 3300, 0.25), Word("c", 5000, 5100, 1.0))
    result = Result(
        (Alternative("a b c", -1.0, 0.5, words), Alternative("c", -2.0, 0.1, words[2:])), True, 1, 0, 0, 1, 2
    )
    tagged = WordSpeakers(TURNS).tagged(result)

    assert [[word.speaker for word in each.words] for each in tagged.alternatives] == [[1, 1, 2], [2]]
    assert [word.text for word in tagged.alternatives[0].words] == ["a", "b", "c"]
    assert (tagged.start_ms, tagged.alternatives[0].text) == (result.start_ms, "a b c")


def slowly(turns: list[Turn], start_ms: int, end_ms: int) -> int:
    """The rule written down without any order or bisection, for a word after no other."""
    shares = np.zeros(8)
    for turn in turns:
        shares[turn.speaker] += max(0.0, min(turn.end_s * 1000, end_ms) - max(turn.begin_s * 1000, start_ms))
    if shares.max() > 0:
        best = {int(each) for each in np.flatnonzero(shares >= shares.max() - 1e-6)}
        touching = [each for each in turns if each.end_s * 1000 > start_ms and each.begin_s * 1000 < end_ms]
        return 1 + next(turn.speaker for turn in touching if turn.speaker in best)
    gaps = [(max(start_ms - turn.end_s * 1000, turn.begin_s * 1000 - end_ms), turn.speaker) for turn in turns]
    least = min(gap for gap, _ in gaps)
    near = {speaker for gap, speaker in gaps if gap == least}
    return 1 + near.pop() if least <= NEAR_MS and len(near) == 1 else (0 if least > NEAR_MS else -1)


_TURN = st.tuples(st.integers(0, 40), st.integers(1, 12), st.integers(0, 3))


@given(st.lists(_TURN, min_size=1, max_size=12), st.integers(0, 5000), st.integers(1, 900))
def test_bisection_finds_what_looking_at_every_turn_finds(
    numbers: list[tuple[int, int, int]], start_ms: int, length_ms: int
) -> None:
    turns = sorted((Turn(b / 8, (b + n) / 8, who) for b, n, who in numbers), key=lambda each: each.begin_s)
    wanted = slowly(turns, start_ms, start_ms + length_ms)
    found = WordSpeakers(turns).speaker(start_ms, start_ms + length_ms)
    assert found == wanted or wanted == -1  # two as near: a rule of its own, above
