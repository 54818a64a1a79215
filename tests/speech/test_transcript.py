"""What a partial result is made of, computed the short way, equals what a final one computes in full."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from speech.search.nbest import Nbest
from speech.tokens import TokenTable
from speech.transcript import ResultOptions, Timeline, alternatives, best_alternative, best_text, speech_span, stability

TOKENS = TokenTable(["<blank>", "▁a", "▁b", "c"])
IDS = st.lists(st.integers(1, 3), min_size=1, max_size=12)


def nbest_of(hypotheses: list[list[int]], frames: list[int]) -> Nbest:
    times = sorted(frames)
    return Nbest(
        tokens=tuple(np.array(each, np.int32) for each in hypotheses),
        scores=-np.arange(len(hypotheses), dtype=np.float64),
        times=tuple(np.array(times[: len(each)], np.int32) for each in hypotheses),
        confidences=tuple(np.linspace(0.1, 0.9, len(each), dtype=np.float32) for each in hypotheses),
        trailing_blank_frames=0,
        frames=200,
    )


@given(
    hypotheses=st.lists(IDS, min_size=1, max_size=6),
    frames=st.lists(st.integers(0, 200), min_size=12, max_size=12, unique=True),
    origin=st.integers(0, 9000),
    frame_ms=st.sampled_from([20.0, 40.0, 80.0]),
)
def test_a_partial_is_the_first_part_of_a_final(
    hypotheses: list[list[int]], frames: list[int], origin: int, frame_ms: float
) -> None:
    nbest, timeline = nbest_of(hypotheses, frames), Timeline(origin, frame_ms)
    starts, ends = timeline.spans(nbest.times[0].tolist())
    assert speech_span(nbest, timeline) == (starts[0], ends[-1])
    full = tuple(alternatives(nbest, TOKENS, timeline, ResultOptions(), 1))
    assert (best_alternative(nbest, best_text(nbest, TOKENS)),) == full


@given(hypotheses=st.lists(IDS, min_size=1, max_size=6))
def test_stability_counts_common_beginnings_token_by_token(hypotheses: list[list[int]]) -> None:
    nbest = nbest_of(hypotheses, list(range(12)))
    weights = np.exp(nbest.scores) / np.exp(nbest.scores).sum()
    shared = []
    for each in hypotheses:
        pairs = list(zip(hypotheses[0], each, strict=False))
        shared.append(next((i for i, (x, y) in enumerate(pairs) if x != y), len(pairs)))
    assert np.isclose(stability(nbest), np.dot(weights, shared) / len(hypotheses[0]))
