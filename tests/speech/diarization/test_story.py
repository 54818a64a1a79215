import itertools
import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.diarization import powerset
from speech.diarization.graph import unit_rows
from speech.diarization.options import CHORUS, PRESETS, DiarizationOptions, TurnOptions, WindowOptions, preset
from speech.diarization.powerset import CLASSES, LocalTracks, decode, overlapped_turns, step_frames
from speech.diarization.resegmentation import confidences, resegmented
from speech.diarization.story import diarize
from speech.diarization.turns import Turn, smoothed, turns_of
from speech.diarization.vad import Region
from speech.diarization.windows import cut_windows
from speech.errors import BadOption

SECOND = 16000
FRAME_S = 270 / 16000


def region(begin_s: float, end_s: float) -> Region:
    return Region(round(begin_s * SECOND), round(end_s * SECOND))


def shown(turns: list[Turn] | tuple[Turn, ...]) -> list[tuple[float, float, int]]:
    return [(round(turn.begin_s, 3), round(turn.end_s, 3), turn.speaker) for turn in turns]


def of(pieces: list[Region], labels: list[int]) -> list[tuple[float, float, int]]:
    return shown(turns_of(pieces, np.array(labels), np.ones(len(pieces))))


def test_touching_pieces_of_one_speaker_are_one_turn() -> None:
    assert of([region(0, 1.5), region(0.75, 2.25), region(2.25, 3)], [0, 0, 0]) == [(0, 3, 0)]


def test_a_gap_splits_a_turn() -> None:
    assert of([region(0, 1), region(1.1, 2)], [0, 0]) == [(0, 1, 0), (1.1, 2, 0)]


def test_two_speakers_share_what_their_pieces_share() -> None:
    assert of([region(0, 1.5), region(0.75, 2.25)], [0, 1]) == [(0, 1.125, 0), (1.125, 2.25, 1)]


def test_smoothing_closes_gaps_of_one_speaker_only_and_drops_the_short() -> None:
    turns = [Turn(0, 1, 0), Turn(1.2, 2, 0), Turn(2.1, 2.2, 1), Turn(3, 4, 1)]

    assert shown(smoothed(turns, TurnOptions(merge_gap_s=0.3, min_duration_s=0.3))) == [(0, 2, 0), (3, 4, 1)]


def test_turns_that_share_time_are_marked_and_others_not() -> None:
    found = smoothed([Turn(0, 5, 0), Turn(4, 6, 1), Turn(6, 7, 0), Turn(8, 9, 2)], TurnOptions())

    assert [turn.overlaps for turn in found] == [True, True, False, False]


def test_resegmentation_takes_back_a_stray_piece_but_no_turn_after_a_pause() -> None:
    a, b = np.eye(2, dtype=np.float32)
    stray = unit_rows(np.array([a + 1.05 * b]))[0]  # hardly nearer to b
    units = np.array([a, a, stray, a, a, b, b, b])
    labels = np.array([0, 0, 1, 0, 0, 1, 1, 1])
    chain = cut_windows([region(0, 6.75)], WindowOptions())
    assert len(chain) == 8

    assert resegmented(units, labels, chain, 0.1).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    apart = [region(2 * index, 2 * index + 1) for index in range(8)]
    assert resegmented(units, labels, apart, 0.1).tolist() == labels.tolist()


def test_confidence_is_one_for_a_single_speaker_and_a_half_between_two() -> None:
    a, b = np.eye(2, dtype=np.float32)
    middle = unit_rows(np.array([a + b]))[0]

    assert confidences(np.array([a, a]), np.array([0, 0])).tolist() == [1.0, 1.0]
    assert confidences(np.array([a, b, middle, middle]), np.array([0, 1, 0, 1]))[2] == pytest.approx(0.5, abs=0.01)


def test_classes_are_the_power_set_of_three_speakers() -> None:
    tracks = decode(0, np.eye(7, dtype=np.float32))

    assert tracks.flags().astype(int).tolist() == [
        [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1],
    ]  # fmt: skip
    assert len(set(CLASSES.tolist())) == 7


def heard(first_frame: int, num_frames: int, *local: tuple[int, float, float]) -> LocalTracks:
    """A window in which local speakers talk from second to second of the recording."""
    bits = np.zeros(num_frames, np.uint8)
    for speaker, begin_s, end_s in local:
        begin, end = (max(0, round(at / FRAME_S) - first_frame) for at in (begin_s, end_s))
        bits[begin:end] |= 1 << speaker
    return LocalTracks(first_frame, bits)


def near(turns: list[Turn], expected: list[tuple[float, float, int]]) -> bool:
    return len(turns) == len(expected) and all(
        abs(turn.begin_s - begin) < 0.05 and abs(turn.end_s - end) < 0.05 and turn.speaker == speaker
        for turn, (begin, end, speaker) in zip(turns, expected, strict=True)
    )


def test_overlap_is_two_turns_at_once_with_speakers_found_by_shared_time() -> None:
    turns = [Turn(0, 4.5, 0), Turn(4.5, 9, 1)]
    windows = [heard(0, 589, (2, 0, 5), (0, 4, 9))]

    assert near(overlapped_turns(turns, windows, 9 * SECOND), [(0, 5, 0), (4, 9, 1)])


def test_windows_that_number_speakers_differently_agree_after_matching() -> None:
    turns = [Turn(0, 6, 0), Turn(6, 14, 1)]
    windows = [heard(0, 589, (0, 0, 6), (1, 6, 9.9)), heard(296, 589, (2, 5, 6), (0, 6, 14))]

    assert near(overlapped_turns(turns, windows, 14 * SECOND), [(0, 6, 0), (6, 14, 1)])


def test_who_joins_in_is_known_by_what_is_said_around_the_overlap() -> None:
    """A window takes speakers 1 and 2, who sound alike, for one; it is 2 who talks into the end of 0's turn."""
    turns = [Turn(0, 4, 1), Turn(4.5, 7.5, 0), Turn(7.5, 9, 2)]
    windows = [heard(0, 589, (0, 0, 4), (1, 4.5, 7.5), (0, 7, 9))]

    assert near(overlapped_turns(turns, windows, 9 * SECOND, only_adds=True), [(0, 4, 1), (4.5, 7.5, 0), (7, 9, 2)])


def test_a_stretch_that_nobody_has_alone_is_named_by_the_rest_of_its_window() -> None:
    turns = [Turn(0, 2, 1), Turn(3, 7, 0)]
    windows = [heard(0, 589, (0, 0, 2), (1, 3, 7), (0, 4, 5))]

    assert near(overlapped_turns(turns, windows, 9 * SECOND, only_adds=True), [(0, 2, 1), (3, 7, 0), (4, 5, 1)])


def test_where_the_segmentation_hears_nobody_the_clustering_stands() -> None:
    turns = [Turn(0, 2, 0), Turn(5, 7, 1)]

    assert near(overlapped_turns(turns, [heard(0, 589, (0, 0, 2))], 10 * SECOND), [(0, 2, 0), (5, 7, 1)])


def test_without_windows_or_turns_nothing_changes() -> None:
    turns = [Turn(0, 2, 0)]

    assert overlapped_turns(turns, [], 2 * SECOND) == turns
    assert overlapped_turns([], [heard(0, 589, (0, 0, 2))], 10 * SECOND) == []


def test_turns_end_with_the_audio_and_begin_with_it() -> None:
    found = overlapped_turns([Turn(0, 3, 0)], [heard(0, 589, (0, 0, 9.9))], 3 * SECOND)

    assert shown(found) == [(0, 3, 0)]


@pytest.mark.parametrize("only_adds", [True, False])
def test_memory_for_an_hour_of_many_speakers_is_a_few_bytes_a_frame_and_speaker(
    only_adds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_frames, speakers = 213_000, 12
    turns = [Turn(second, second + 4.0, second // 4 % speakers) for second in range(0, 3590, 4)]
    windows = [heard(first, 589, (0, 0, 3600), (1, 5, 3600)) for first in range(0, num_frames - 589, 589)]
    tracemalloc.start()
    found = overlapped_turns(turns, windows, num_frames * 270, only_adds=only_adds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 14 * num_frames * speakers
    monkeypatch.setattr(powerset, "BLOCK_FRAMES", 3001)
    assert overlapped_turns(turns, windows, num_frames * 270, only_adds=only_adds) == found
    assert {turn.speaker for turn in found} == set(range(speakers))


def test_window_steps_are_whole_frames() -> None:
    assert step_frames(CHORUS.overlap) == round(CHORUS.overlap.step_s * SECOND / 270)


@pytest.mark.parametrize("name", PRESETS)
def test_no_pieces_are_an_empty_result(name: str) -> None:
    found = diarize([], np.zeros((0, 192), np.float32), PRESETS[name], num_samples=SECOND)

    assert found.turns == ()
    assert found.speakers.shape == (0, 192)


def dialogue(who: list[int], seed: int = 0) -> tuple[list[Region], np.ndarray]:
    """Regions of 3 s with 0.6 s between, one voice each, and embeddings of their pieces."""
    rng = np.random.default_rng(seed)
    centres = unit_rows(rng.standard_normal((max(who) + 1, 64)))
    pieces: list[Region] = []
    rows = []
    for index, speaker in enumerate(who):
        new = cut_windows([region(3.6 * index, 3.6 * index + 3)], WindowOptions())
        pieces += new
        rows += [centres[speaker] + 0.08 * rng.standard_normal(64) for _ in new]
    return pieces, np.array(rows, np.float32)


@pytest.mark.parametrize("name", PRESETS)
def test_a_dialogue_gives_its_turns_with_speakers_by_first_appearance(name: str) -> None:
    who = [1, 0, 1, 2, 0, 1, 2, 2, 0, 1, 0, 2, 1, 0, 2]
    pieces, rows = dialogue(who)
    options = msgspec.structs.replace(PRESETS[name], turns=TurnOptions())

    found = diarize(pieces, rows, options, num_samples=60 * SECOND)

    names = {1: 0, 0: 1, 2: 2}
    assert shown(found.turns) == [
        (round(3.6 * at, 3), round(3.6 * at + 3, 3), names[each]) for at, each in enumerate(who)
    ]
    assert found.speakers.shape == (3, 64)
    assert np.argmax(rows @ found.speakers.T, axis=1)[:3].tolist() == [0, 0, 0]


def test_a_speaker_whose_turns_are_dropped_leaves_no_hole_in_the_numbers() -> None:
    pieces, rows = dialogue([0] * 4 + [1] * 4)
    pieces = [region(0, 0.2), *pieces[1:]]
    rows[0] = -rows[0]
    options = DiarizationOptions(turns=TurnOptions(min_duration_s=0.5), min_speakers=3, max_speakers=3)

    found = diarize(pieces, rows, options, num_samples=60 * SECOND)

    assert sorted({turn.speaker for turn in found.turns}) == [0, 1]
    assert len(found.speakers) == 2


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 9), st.integers(0, 3)), max_size=12), st.floats(0, 2))
def test_smoothed_turns_of_one_speaker_never_share_time(rows: list[tuple[float, float, int]], gap: float) -> None:
    found = smoothed([Turn(begin, begin + length, who) for begin, length, who in rows], TurnOptions(merge_gap_s=gap))

    for who in range(4):
        own = [turn for turn in found if turn.speaker == who]
        assert all(right.begin_s - left.end_s > gap for left, right in itertools.pairwise(own))
    assert [turn.begin_s for turn in found] == sorted(turn.begin_s for turn in found)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadOption, match="chorus, wespeaker, 3d-speaker"):
        preset("kaldi")


def test_a_maximum_below_the_minimum_is_refused() -> None:
    with pytest.raises(BadOption, match="max_speakers is 1; allowed: min_speakers, 2"):
        DiarizationOptions(min_speakers=2, max_speakers=1)
