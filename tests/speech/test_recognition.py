from dataclasses import dataclass

import numpy as np
import pytest

from speech.endpoint import K2_RULES, EndpointConfig, EndpointRule
from speech.recognition import Recognition, ResultOptions, SegmentEnd, whole_result
from speech.results import EventKind, Result, SpeechEvent
from speech.search import Nbest
from speech.tokens import TokenTable
from speech.transcript import Timeline, geometric_mean, stability

TOKENS = TokenTable(["<blank>", "<unk>", "▁hel", "lo", "▁world", "▁yes", "<sos/eos>"])
HEL, LO, WORLD, YES = 2, 3, 4, 5
FRAME_MS = 40.0
INTERIM = ResultOptions(interim_results=True)
OFF = EndpointConfig(enabled=False)


@dataclass
class Step:
    nbest: Nbest
    num_frames: int = 16
    kept: np.ndarray | None = None


def nbest(*hypotheses, silence=0, frames=16):
    """Hypotheses as (ids, times) or (ids, times, score)."""
    rows = [(*row, -float(rank))[:3] for rank, row in enumerate(hypotheses)] or [((), (), 0.0)]
    return Nbest(
        tokens=tuple(np.array(ids, np.int32) for ids, _, _ in rows),
        scores=np.array([score for _, _, score in rows], np.float64),
        times=tuple(np.array(times, np.int32) for _, times, _ in rows),
        confidences=tuple(np.full(len(ids), 0.5, np.float32) for ids, _, _ in rows),
        trailing_blank_frames=silence,
        frames=frames,
    )


HELLO = ((HEL, LO), (5, 8))


class Stream:
    """Drives a Recognition as a session does, with 640 ms of audio a step."""

    def __init__(self, options=INTERIM, endpoint=None, limit=None):
        self.recognition = Recognition(TOKENS, FRAME_MS, endpoint or EndpointConfig(), options, limit)
        self.steps = 0
        self.ends = []

    def push(self, *hypotheses, silence=0, num_frames=16, kept=None, rescored=None):
        self.steps += 1
        step = Step(nbest(*hypotheses, silence=silence), num_frames, kept)
        return self.handle(self.recognition.push(step, self.steps * 640), rescored)

    def flush(self, rescored=None):
        return self.handle(self.recognition.flush(self.steps * 640), rescored)

    def handle(self, outcomes, rescored):
        told = []
        for outcome in outcomes:
            if isinstance(outcome, SegmentEnd):
                self.ends.append(outcome)
                told += self.recognition.finish_segment(rescored or outcome.nbest)
            else:
                told.append(outcome)
        return told


def texts(told, final=None):
    results = [r for r in told if isinstance(r, Result) and final in (None, r.is_final)]
    return [r.alternatives[0].text if r.alternatives else "" for r in results]


def events(told):
    return [(e.kind, e.time_ms, e.rule) for e in told if isinstance(e, SpeechEvent)]


def test_first_step_starts_encoder_and_search_and_the_next_does_not():
    stream = Stream()
    assert stream.recognition.restart_encoder
    assert stream.recognition.restart_search
    stream.push(HELLO)
    assert not stream.recognition.restart_encoder
    assert not stream.recognition.restart_search


def test_partials_come_only_when_the_text_changes():
    stream = Stream()
    assert texts(stream.push()) == []
    assert texts(stream.push(((HEL,), (5,)))) == ["hel"]
    assert texts(stream.push(HELLO)) == ["hello"]
    assert texts(stream.push(HELLO)) == []
    assert texts(stream.push()) == [""]
    assert texts(stream.push()) == []


def test_without_interim_results_only_finals_come():
    stream = Stream(ResultOptions())
    told = [*stream.push(HELLO), *stream.push(HELLO, silence=5), *stream.flush()]
    assert texts(told) == ["hello"]
    assert told[-2].is_final


def test_speech_start_comes_once_a_segment_at_the_first_tokens_start():
    stream = Stream()
    assert events(stream.push()) == []
    assert events(stream.push(((HEL,), (20,)))) == [(EventKind.SPEECH_START, 20 * 40 - 100, None)]
    assert events(stream.push(((HEL, LO), (20, 24)))) == []
    stream.push(((HEL, LO), (20, 24)), silence=25)
    assert [kind for kind, _, _ in events(stream.push(HELLO))] == [EventKind.SPEECH_START]


def test_silence_after_text_ends_the_segment_and_restarts_everything():
    stream = Stream()
    stream.push(HELLO)
    told = stream.push(HELLO, silence=25)
    assert events(told) == [(EventKind.ENDPOINT, 32 * 40, "rule2")]
    (final,) = [r for r in told if isinstance(r, Result)]
    assert (final.is_final, final.stability, final.segment) == (True, 1.0, 0)
    assert (final.start_ms, final.end_ms, final.audio_processed_ms) == (100, 360, 1280)
    assert stream.recognition.restart_encoder
    assert stream.recognition.restart_search


def test_times_stay_those_of_the_stream_after_an_endpoint():
    stream = Stream(ResultOptions(word_times=True, token_times=True))
    stream.push(HELLO)
    stream.push(HELLO, silence=25)
    told = stream.push(((YES,), (10,)), silence=25)
    (final,) = [r for r in told if isinstance(r, Result)]
    assert final.segment == 1
    peak = (32 + 10) * 40
    (word,) = final.alternatives[0].words
    assert (word.text, word.start_ms, word.end_ms) == ("yes", peak - 100, peak + 40)
    (token,) = final.alternatives[0].tokens
    assert (token.text, token.id, token.start_ms, token.end_ms) == ("▁yes", YES, peak - 100, peak + 40)
    assert stream.ends[1].start_frame == 32


def test_silence_without_text_resets_but_says_nothing():
    stream = Stream()
    told = [out for _ in range(8) for out in stream.push(silence=125)]
    assert told == []
    assert stream.recognition.restart_search
    assert stream.recognition.segment == 0
    told = stream.push(HELLO)
    assert texts(told) == ["hello"]
    assert told[-1].start_ms == 8 * 640 + 100


def test_text_taken_back_before_an_empty_endpoint_is_taken_back_in_the_open():
    stream = Stream()
    stream.push(HELLO)
    told = stream.push(silence=125)
    assert texts(told) == [""]
    assert not told[0].is_final


def test_final_follows_the_rescored_order():
    stream = Stream(ResultOptions(max_alternatives=2, rescoring=True))
    kept = np.ones((16, 4), np.float32)
    first, second = HELLO, ((HEL, LO, WORLD), (5, 8, 12))
    stream.push(first, second, kept=kept)
    before = nbest(first, second)
    rescored = before.reordered([1, 0], np.array([-1.5, -2.5]))
    told = stream.push(first, second, silence=25, kept=2 * kept, rescored=rescored)
    final = told[-1]
    assert [a.text for a in final.alternatives] == ["hello world", "hello"]
    assert [a.score for a in final.alternatives] == [-1.5, -2.5]
    np.testing.assert_array_equal(stream.ends[0].history, np.concatenate([kept, 2 * kept]))


def test_history_starts_anew_with_each_segment():
    stream = Stream(ResultOptions(rescoring=True))
    stream.push(silence=125, kept=np.zeros((16, 4), np.float32))
    stream.push(HELLO, silence=25, kept=np.ones((16, 4), np.float32))
    assert stream.ends[0].history.shape == (16, 4)
    assert stream.ends[0].history.all()


def test_no_history_is_kept_unless_rescoring_is_asked_for():
    stream = Stream()
    stream.push(HELLO, silence=25, kept=np.ones((16, 4), np.float32))
    assert stream.ends[0].history is None


def test_rescoring_to_silence_takes_back_the_partial_and_counts_no_segment():
    stream = Stream()
    stream.push(HELLO)
    told = stream.push(HELLO, silence=25, rescored=nbest())
    assert texts(told, final=False) == [""]
    assert texts(told, final=True) == []
    assert stream.recognition.segment == 0


def test_flush_finishes_the_last_segment_and_ends_the_stream():
    stream = Stream()
    stream.push(HELLO)
    told = stream.flush()
    assert texts(told, final=True) == ["hello"]
    assert events(told) == [(EventKind.END, 640, None)]
    assert stream.ends[0].rule is None
    assert stream.recognition.is_done
    assert stream.flush() == []


@pytest.mark.parametrize("steps", [0, 1])
def test_flush_of_a_silent_stream_only_ends_it(steps):
    stream = Stream()
    for _ in range(steps):
        stream.push()
    assert stream.flush() == [SpeechEvent(EventKind.END, steps * 640)]


def test_single_utterance_ends_after_the_first_endpoint_with_text():
    stream = Stream(ResultOptions(single_utterance=True))
    stream.push(silence=125)
    assert not stream.recognition.is_done
    told = stream.push(HELLO, silence=25)
    assert texts(told, final=True) == ["hello"]
    assert [kind for kind, _, _ in events(told)] == [EventKind.SPEECH_START, EventKind.ENDPOINT, EventKind.END]
    assert stream.recognition.is_done
    assert stream.push(HELLO) == []
    assert stream.flush() == []


def test_encoder_restarts_in_a_pause_near_its_last_position():
    stream = Stream(endpoint=OFF, limit=100)
    for _ in range(4):
        assert events(stream.push(HELLO, silence=5))[1:] == []
    stream.push(HELLO)
    told = stream.push(HELLO, silence=5, num_frames=4)  # 84 of 100 used
    assert events(told) == [(EventKind.ENDPOINT, 84 * 40, "max_length")]
    assert texts(told, final=True) == ["hello"]
    assert stream.recognition.restart_encoder


def test_encoder_restarts_before_its_last_position_without_a_pause_and_loses_nothing():
    stream = Stream(endpoint=OFF, limit=100)
    told = []
    for step in range(14):
        ids = (YES,) * (step % 6 + 1)
        told += stream.push((ids, tuple(range(0, 2 * len(ids), 2))))
        assert stream.recognition._num_frames - stream.recognition._segment_start <= 100
    told += stream.flush()
    assert [rule for kind, _, rule in events(told) if kind is EventKind.ENDPOINT] == ["max_length"] * 2
    assert texts(told, final=True) == ["yes yes yes yes yes yes"] * 2 + ["yes yes"]
    assert [end.start_frame for end in stream.ends] == [0, 96, 192]


def test_a_silent_stream_restarts_its_encoder_too():
    stream = Stream(endpoint=OFF, limit=100)
    restarts = 0
    for _ in range(24):
        assert stream.push(silence=16) == []
        restarts += stream.recognition.restart_encoder
    assert restarts == 4


def test_options_may_change_in_mid_stream():
    stream = Stream()
    stream.push(HELLO)
    rule = EndpointRule(min_trailing_silence_ms=200, must_contain_text=True)
    stream.recognition.change(ResultOptions(), EndpointConfig(rule2=rule))
    assert events(stream.push(HELLO, silence=5)) == [(EventKind.ENDPOINT, 1280, "rule2")]


def test_a_segment_must_be_finished_before_the_stream_goes_on():
    stream = Stream()
    stream.recognition.push(Step(nbest(HELLO, silence=25)), 640)
    with pytest.raises(AssertionError, match="finish_segment"):
        stream.recognition.push(Step(nbest(HELLO)), 1280)


def test_alternatives_with_one_text_are_given_once():
    stream = Stream(ResultOptions(max_alternatives=3))
    told = stream.push(HELLO, ((HEL, LO, 1), (5, 8, 9)), ((YES,), (5,)), silence=25)
    assert [a.text for a in told[-1].alternatives] == ["hello", "yes"]


def test_confidence_is_the_geometric_mean_of_the_tokens():
    assert geometric_mean([0.9, 0.4]) == pytest.approx(0.6)
    assert geometric_mean([]) == 0.0
    assert geometric_mean([0.0, 1.0]) < 1e-10


def test_stability_is_one_when_all_hypotheses_begin_with_the_best():
    assert stability(nbest(HELLO)) == 1.0
    assert stability(nbest(HELLO, ((HEL, LO, WORLD), (5, 8, 12)))) == pytest.approx(1.0)


def test_stability_is_the_share_of_probability_that_agrees():
    both = nbest(((HEL, LO), (5, 8), np.log(0.6)), ((HEL, YES), (5, 8), np.log(0.2)))
    assert stability(both) == pytest.approx(0.75 + 0.25 * 0.5)
    assert stability(nbest()) == 0.0


def test_token_spans_follow_each_other_and_stay_in_the_segment():
    rng = np.random.default_rng(0)
    for _ in range(50):
        times = np.cumsum(rng.integers(1, 6, size=12)) - 1
        starts, ends = Timeline(1000.0, FRAME_MS).spans(times.tolist())
        assert starts[0] >= 1000
        assert all(start <= 1000 + t * 40 < end for start, t, end in zip(starts, times, ends, strict=True))
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_whole_result_lies_in_its_piece_of_audio():
    options = ResultOptions(max_alternatives=2, word_times=True)
    result = whole_result(nbest(HELLO), tokens=TOKENS, frame_ms=40, options=options, start_ms=3000, end_ms=3350)
    assert (result.start_ms, result.end_ms, result.audio_processed_ms) == (3100, 3350, 3350)
    assert [word.text for word in result.alternatives[0].words] == ["hello"]
    assert whole_result(nbest(), tokens=TOKENS, frame_ms=40, options=options, start_ms=0, end_ms=9) is None


def test_transducer_s_segment_restarts_the_search_alone_and_its_tokens_begin_at_their_frames():
    stream = Stream()
    stream.recognition = Recognition(TOKENS, FRAME_MS, K2_RULES, INTERIM, keeps_encoder=True, lead_ms=0.0)
    assert stream.recognition.restart_encoder
    stream.push(HELLO)
    told = stream.push(HELLO, silence=30, num_frames=32)
    (final,) = [result for result in told if isinstance(result, Result) and result.is_final]
    assert (final.start_ms, final.end_ms) == (5 * 40, 9 * 40)
    assert stream.ends[0].rule == "rule2", "1.2 s of silence after words"
    assert stream.recognition.restart_search
    assert not stream.recognition.restart_encoder
