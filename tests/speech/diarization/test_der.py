import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.diarization.der import DiarizationErrors, score_diarization, total
from speech.errors import BadRttm
from speech.rttm import RttmTurn, read_rttm, write_rttm

DATA = Path(__file__).parents[2] / "data" / "diarization"
TIMES = st.integers(0, 5_000_000).map(lambda value: value / 1000)


def turn(begin: float, end: float, speaker: str, file: str = "a") -> RttmTurn:
    return RttmTurn(file, begin, end - begin, speaker)


def score(reference: list[RttmTurn], hypothesis: list[RttmTurn], **options: float) -> DiarizationErrors:
    return total(score_diarization(reference, hypothesis, **options))


def test_rates_are_md_eval_s_with_and_without_collar_and_overlap() -> None:
    rows = json.loads((DATA / "md_eval.json").read_text())
    assert len(rows) == 12

    for row in rows:
        reference, hypothesis = read_rttm(row["reference"]), read_rttm(row["hypothesis"])
        for collar, single, (*seconds, rate) in row["found"]:
            errors = score(reference, hypothesis, collar_s=collar, ignores_overlap=single)
            found = [errors.scored_s, errors.missed_s, errors.false_alarm_s, errors.confused_s]
            assert found == pytest.approx(seconds, abs=0.011), (collar, single)
            assert 100 * errors.rate == pytest.approx(rate, abs=0.01), (collar, single)


def test_the_truth_has_no_errors_whatever_its_speakers_are_called() -> None:
    reference = [turn(0, 2, "x"), turn(1, 3, "y"), turn(3, 4, "x")]
    hypothesis = [turn(0, 2, "2"), turn(1, 3, "1"), turn(3, 4, "2")]

    assert score(reference, hypothesis) == DiarizationErrors(scored_s=5.0)


def test_each_kind_of_error_is_counted_apart() -> None:
    reference = [turn(0, 4, "x"), turn(5, 9, "y")]
    hypothesis = [turn(1, 4, "a"), turn(4, 4.5, "a"), turn(5, 8, "b"), turn(8, 9, "a")]

    errors = score(reference, hypothesis)

    assert (errors.missed_s, errors.false_alarm_s, errors.confused_s) == pytest.approx((1.0, 0.5, 1.0))
    assert errors.rate == pytest.approx(2.5 / 8)


def test_overlap_counts_every_speaker_unless_it_is_ignored() -> None:
    reference, hypothesis = [turn(0, 4, "x"), turn(2, 6, "y")], [turn(0, 4, "a"), turn(4, 6, "b")]

    assert score(reference, hypothesis).missed_s == pytest.approx(2.0)
    assert score(reference, hypothesis, ignores_overlap=True) == DiarizationErrors(scored_s=4.0)


def test_a_collar_forgives_what_is_near_a_border() -> None:
    reference, hypothesis = [turn(0, 4, "x"), turn(5, 9, "y")], [turn(0.2, 4.2, "a"), turn(4.8, 8.8, "b")]

    assert score(reference, hypothesis).rate > 0.05
    assert score(reference, hypothesis, collar_s=0.25).rate == 0


def test_a_file_without_a_hypothesis_is_missed_and_one_without_reference_is_not_scored() -> None:
    scores = score_diarization([turn(0, 2, "x", "known")], [turn(0, 2, "x", "stranger")])

    assert scores == {("known", "1"): DiarizationErrors(scored_s=2.0, missed_s=2.0)}


def test_no_errors_in_no_time_are_no_rate_and_errors_in_no_time_have_none() -> None:
    assert DiarizationErrors().rate == 0
    assert DiarizationErrors(false_alarm_s=1.0).rate == float("inf")


@given(st.lists(st.tuples(TIMES, TIMES, st.sampled_from("xyz")), max_size=8))
def test_what_is_written_is_read(rows: list[tuple[float, float, str]]) -> None:
    turns = [RttmTurn("f", begin, length, speaker) for begin, length, speaker in rows]

    found = read_rttm(write_rttm(turns))

    assert [(each.file, each.speaker, each.channel) for each in found] == [
        (each.file, each.speaker, each.channel) for each in turns
    ]
    for new, old in zip(found, turns, strict=True):
        assert (new.begin_s, new.end_s) == pytest.approx((old.begin_s, old.end_s), abs=1e-6)


def test_lines_have_ten_fields_and_milliseconds() -> None:
    assert write_rttm([RttmTurn("f", 1.2345, 2, "3")]) == "SPEAKER f 1 1.234 2.000 <NA> <NA> 3 <NA> <NA>\n"


def test_other_lines_and_comments_are_passed_over() -> None:
    text = ";; made by hand\n\nSPKR-INFO f 1 <NA> <NA> <NA> unknown x <NA> <NA>\nSPEAKER f 0 1 2 <NA> <NA> x\n"

    assert read_rttm(text) == [RttmTurn("f", 1.0, 2.0, "x", "0")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SPEAKER f 1 0 1 <NA>", r"here, line 1: 6 fields; a SPEAKER line has 8 to 10"),
        ("SPEAKER f 1 zero 1 <NA> <NA> x", r"begin 'zero' and duration '1' must be numbers"),
        ("SPEAKER f 1 0 -1 <NA> <NA> x", r"duration -1 s must be finite and not negative"),
        ("SPEAKER f 1 nan 1 <NA> <NA> x", r"begin nan s"),
        ("speaker: me", r"begins with 'speaker:', not with SPEAKER"),
    ],
)
def test_a_bad_line_is_refused_by_name(line: str, message: str) -> None:
    with pytest.raises(BadRttm, match=message):
        read_rttm(line, "here")


@pytest.mark.parametrize("name", ["", "two words"])
def test_names_that_rttm_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(BadRttm, match="white space"):
        write_rttm([RttmTurn(name, 0, 1, "x")])
