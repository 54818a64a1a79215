"""CTC's score of a text is the sum over all alignments, and its times are those of the best one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.search import CtcSearch, SearchOptions
from speech.search.alignment import align, best_path

BLANK = 0


def log_probs(frames: int, vocab: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).standard_normal((frames, vocab)) * 2
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_best_path_is_the_likeliest_of_all_alignments(frames: int, seed: int) -> None:
    rows = log_probs(frames, 4, seed)
    assert best_path(rows, BLANK).tolist() == list(collapsed(tuple(rows.argmax(1).tolist())))
    assert rows.argmax(1).dtype != best_path(rows, BLANK).dtype == np.int32


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != BLANK)


@given(st.lists(st.integers(1, 3), max_size=4), st.integers(1, 6), st.integers(0, 1000))
def test_it_is_the_sum_over_all_paths_and_their_best(tokens: list[int], frames: int, seed: int) -> None:
    rows = log_probs(frames, 4, seed)
    paths = [p for p in itertools.product(range(4), repeat=frames) if collapsed(p) == tuple(tokens)]
    scores = [float(sum(rows[t, token] for t, token in enumerate(p))) for p in paths]
    found = align(rows, np.array(tokens, np.int32), BLANK)
    if not paths:
        assert found.score == -np.inf
        return
    assert found.score == pytest.approx(np.logaddexp.reduce(scores), abs=1e-4)
    best = paths[int(np.argmax(scores))]
    place = 0
    for token, group in itertools.groupby(range(frames), key=lambda t: best[t]):
        span = list(group)
        if token != BLANK:
            assert found.times[place] in span
            assert found.confidences[place] == pytest.approx(np.exp(rows[span, token].max()), rel=1e-4)
            place += 1


def test_it_agrees_with_the_prefix_search() -> None:
    rows = log_probs(30, 6, 5)
    search = CtcSearch(1, BLANK, 64)
    search.open(0, SearchOptions(beam_size=64, top_k=6))
    ids = np.tile(np.arange(6, dtype=np.int32), (30, 1))
    order = np.argsort(-rows, axis=1, kind="stable").astype(np.int32)
    ids = np.take_along_axis(ids, order, 1)
    search.step(np.zeros(1, np.int32), np.take_along_axis(rows, order, 1)[None], ids[None], np.array([30], np.int32))
    nbest = search.nbest([0])[0]
    for tokens, score in list(zip(nbest.tokens, nbest.scores, strict=True))[:3]:
        found = align(rows, tokens, BLANK)
        assert found.score >= score - 1e-3  # the search drops what is improbable on the way
        assert found.score == pytest.approx(score, abs=0.2)


def test_no_frames_fit_only_nothing() -> None:
    nothing = np.zeros((0, 4), np.float32)
    assert align(nothing, np.zeros(0, np.int32), BLANK).score == 0.0
    assert align(nothing, np.ones(1, np.int32), BLANK).score == -np.inf
