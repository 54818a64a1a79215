import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.diarization.options import WESPEAKER, VadOptions
from speech.diarization.vad import FRAME_SAMPLES, Region, SpeechFinder, speech_regions

DATA = Path(__file__).parents[2] / "data" / "diarization"
NAMES = {
    "threshold": "threshold",
    "neg_threshold": "exit_threshold",
    "min_speech_duration_ms": "min_speech_ms",
    "max_speech_duration_s": "max_speech_s",
    "min_silence_duration_ms": "min_silence_ms",
    "speech_pad_ms": "pad_ms",
}
PROBABILITIES = st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0]), max_size=120)


def test_regions_are_those_of_sileros_own_function() -> None:
    rows = json.loads((DATA / "silero_regions.json").read_text())
    assert sum(len(row["regions"]) for row in rows) > 70

    for row in rows:
        options = VadOptions(**{NAMES[name]: value for name, value in row["options"].items()})
        found = speech_regions(row["probabilities"], row["num_samples"], options)
        assert [[region.begin, region.end] for region in found] == row["regions"], row["options"]


@given(PROBABILITIES, st.lists(st.integers(0, 120), max_size=6), st.sampled_from([0.0, 30.0, 100.0, 400.0]))
def test_any_cut_of_the_probabilities_gives_the_same_regions(
    probabilities: list[float], cuts: list[int], silence_ms: float
) -> None:
    options = VadOptions(min_silence_ms=silence_ms, pad_ms=60.0)
    num_samples = len(probabilities) * FRAME_SAMPLES
    finder, found, begin = SpeechFinder(options), [], 0
    for end in [*sorted(min(cut, len(probabilities)) for cut in cuts), len(probabilities)]:
        found += finder.push(probabilities[begin:end])
        begin = end
    found += finder.flush(num_samples)

    assert found == speech_regions(probabilities, num_samples, options)


@given(PROBABILITIES, st.sampled_from([0.0, 100.0]))
def test_a_growing_region_begins_where_it_will_and_never_shrinks(probabilities: list[float], silence_ms: float) -> None:
    options = VadOptions(min_silence_ms=silence_ms)
    regions = speech_regions(probabilities, len(probabilities) * FRAME_SAMPLES, options)
    finder = SpeechFinder(options)
    for probability in probabilities:
        finder.push([probability])
        growing = finder.growing
        if growing:
            whole = [region for region in regions if region.begin == growing.begin]
            assert len(whole) == 1
            assert whole[0].end >= growing.end


@given(PROBABILITIES)
def test_no_region_begins_before_what_was_said_to_be_needed(probabilities: list[float]) -> None:
    options = VadOptions()
    finder, needed = SpeechFinder(options), 0
    for probability in probabilities:
        for region in finder.push([probability]):
            assert region.begin >= needed
        if finder.growing:
            assert finder.growing.begin >= needed
        needed = finder.needed_from
    for region in finder.flush(len(probabilities) * FRAME_SAMPLES):
        assert region.begin >= needed


def test_a_long_silence_asks_for_no_audio_to_be_kept() -> None:
    finder = SpeechFinder(VadOptions())
    finder.push([1.0] * 30 + [0.0] * 1000)

    assert finder.needed_from >= 1029 * FRAME_SAMPLES - 480


def test_silence_and_nothing_have_no_regions() -> None:
    assert speech_regions([], 0, VadOptions()) == []
    assert speech_regions([0.01] * 500, 500 * FRAME_SAMPLES, WESPEAKER.vad) == []


def test_wespeaker_keeps_a_short_end_that_silero_drops() -> None:
    probabilities = [0.0] * 10 + [0.9] * 8
    num_samples = 18 * FRAME_SAMPLES
    longer = msgspec.structs.replace(WESPEAKER.vad, min_region_ms=0.0, min_speech_ms=300.0)

    assert speech_regions(probabilities, num_samples, longer) == [Region(5120 - 480, num_samples)]
    assert speech_regions(probabilities, num_samples, VadOptions(min_speech_ms=300.0)) == []


def test_wespeaker_pads_the_start_after_a_long_gap_of_no_region_but_the_first() -> None:
    probabilities = ([0.0] * 10 + [0.9] * 20) * 2 + [0.0] * 10
    found = speech_regions(probabilities, len(probabilities) * FRAME_SAMPLES, WESPEAKER.vad)

    assert [region.begin for region in found] == [10 * FRAME_SAMPLES - 480, 40 * FRAME_SAMPLES]
    assert [region.end for region in found] == [30 * FRAME_SAMPLES + 480, 60 * FRAME_SAMPLES + 480]


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 0.35), (0.36, 0.21), (0.1, 0.01)])
def test_the_exit_threshold_is_silero_s(threshold: float, expected: float) -> None:
    assert VadOptions(threshold=threshold).exit == pytest.approx(expected)
