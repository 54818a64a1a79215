import itertools
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from speech.errors import BadOption
from speech.search import CtcSearch, SearchOptions
from speech.search.reference import Hypothesis, greedy_search, prefix_beam_search

DATA = Path(__file__).parents[1] / "data" / "search" / "prefix_beam.json"
GREEDY = SearchOptions(method="ctc_greedy")


def top_k(log_probs, k):
    ids = np.argsort(-log_probs, axis=-1, kind="stable")[..., :k].astype(np.int32)
    return np.take_along_axis(log_probs, ids, axis=-1).astype(np.float32), ids


def lattice(rng, frames, vocab, k, sharpness=3.0, blank_bias=1.0):
    logits = rng.normal(size=(frames, vocab)) * sharpness
    # Speech-like: the same few tokens stay likely for some frames, blank often wins.
    logits[1::2] = 0.7 * logits[0::2][: len(logits[1::2])] + 0.3 * logits[1::2]
    logits[:, 0] += blank_bias * sharpness
    return top_k(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True), k)


def search(log_probs, ids, options, cuts=(), blank_id=0):
    ctc = CtcSearch(2, blank_id)
    ctc.open(1, options)
    for part, part_ids in zip(np.split(log_probs, cuts), np.split(ids, cuts), strict=True):
        step(ctc, [1], [part], [part_ids])
    (nbest,) = ctc.nbest([1])
    ctc.check_integrity()
    return nbest


def step(ctc, slots, log_probs, ids):
    longest = max(len(rows) for rows in log_probs)
    padded = np.full((len(slots), longest, ids[0].shape[-1]), 7.0, np.float32)  # padding must never be read
    padded_ids = np.full(padded.shape, 1, np.int32)
    for row, (rows, row_ids) in enumerate(zip(log_probs, ids, strict=True)):
        padded[row, : len(rows)], padded_ids[row, : len(rows)] = rows, row_ids
    ctc.step(np.array(slots, np.int32), padded, padded_ids, np.array([len(rows) for rows in log_probs], np.int32))


def values(nbest):
    return [
        Hypothesis(tuple(t.tolist()), float(s), tuple(f.tolist()), tuple(c.tolist()))
        for t, s, f, c in zip(nbest.tokens, nbest.scores, nbest.times, nbest.confidences, strict=True)
    ]


def assert_same(expected, got, tolerance=1e-4):
    assert [h.tokens for h in expected] == [h.tokens for h in got]
    np.testing.assert_allclose([h.score for h in got], [h.score for h in expected], atol=tolerance)
    assert [h.times for h in expected] == [h.times for h in got]
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_allclose(b.confidences, a.confidences, atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_beam_search_equals_the_plain_reference_on_random_lattices(seed):
    rng = np.random.default_rng(seed)
    for _ in range(5):
        options = SearchOptions(
            beam_size=int(rng.integers(1, 17)),
            top_k=int(rng.integers(1, 11)),
            cutoff_prob=float(rng.choice([1.0, 0.999, 0.9])),
            blank_skip=float(rng.choice([1.0, 0.98])),
            blank_penalty=float(rng.choice([0.0, 1.5])),
        )
        vocab = int(rng.integers(3, 30))
        rows = lattice(rng, int(rng.integers(1, 40)), vocab, min(vocab, 10), rng.uniform(0.5, 6), rng.uniform(-0.5, 2))
        assert_same(prefix_beam_search(*rows, 0, options), values(search(*rows, options)))


@pytest.mark.parametrize("seed", range(20))
def test_greedy_search_equals_the_plain_reference(seed):
    rng = np.random.default_rng(seed)
    for penalty in (0.0, 2.0):
        options = SearchOptions(method="ctc_greedy", blank_penalty=penalty)
        rows = lattice(rng, 50, 20, 10, 4.0)
        assert_same([greedy_search(*rows, 0, options)], values(search(*rows, options)))


def every_path(log_probs):
    """Sum the probability of each collapsed sequence over all alignments; log_probs (T, V), blank 0."""
    sums = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token != 0)
        sums[tokens] += float(np.exp(sum(log_probs[t, token] for t, token in enumerate(path))))
    return sums


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_that_holds_everything_sums_over_all_alignments(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(5, 4))
    log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    exact = every_path(log_probs)
    options = SearchOptions(beam_size=len(exact), top_k=4)
    ctc = CtcSearch(1, 0, max_beam=len(exact))
    ctc.open(0, options)
    step(ctc, [0], *[[part] for part in top_k(log_probs, 4)])
    got = {h.tokens: np.exp(h.score) for h in values(ctc.nbest([0])[0])}
    assert got == pytest.approx(dict(exact), rel=1e-5)
    assert sum(got.values()) == pytest.approx(1.0, rel=1e-5)


def test_times_are_those_of_the_best_single_alignment():
    rng = np.random.default_rng(5)
    for _ in range(20):
        logits = rng.normal(size=(5, 3)) * 2
        log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        best = values(search(*top_k(log_probs, 3), SearchOptions(beam_size=30)))[0]
        paths = [
            (sum(log_probs[t, token] for t, token in enumerate(path)), path)
            for path in itertools.product(range(3), repeat=5)
            if tuple(token for token, _ in itertools.groupby(path) if token) == best.tokens
        ]
        runs, at = [], 0
        for token, group in itertools.groupby(max(paths)[1]):
            length = len(list(group))
            if token:
                runs.append(max(range(at, at + length), key=lambda t, token=token: log_probs[t, token]))
            at += length
        assert best.times == tuple(runs)


@pytest.mark.parametrize("options", [GREEDY, SearchOptions(), SearchOptions(blank_skip=0.9, beam_size=4)])
def test_chunks_give_the_same_bits_as_the_whole(options):
    rng = np.random.default_rng(1)
    rows = lattice(rng, 80, 30, 10)
    whole = search(*rows, options)
    for _ in range(10):
        cuts = np.sort(rng.integers(0, 80, size=rng.integers(1, 9)))
        pieces = search(*rows, options, cuts)
        assert values(whole) == values(pieces)
        assert (whole.trailing_blank_frames, whole.frames) == (pieces.trailing_blank_frames, pieces.frames)


def test_a_stream_does_not_feel_its_neighbours():
    rng = np.random.default_rng(2)
    options = [GREEDY if n % 3 == 0 else SearchOptions(beam_size=1 + n) for n in range(12)]
    rows = [lattice(rng, int(rng.integers(30, 60)), 25, 10) for _ in options]
    alone = [values(search(*r, o)) for r, o in zip(rows, options, strict=True)]
    ctc = CtcSearch(16, 0)
    slots = rng.permutation(16)[:12].tolist()
    for slot, slot_options in zip(slots, options, strict=True):
        ctc.open(slot, slot_options)
    at = [0] * 12
    while any(a < len(r[0]) for a, r in zip(at, rows, strict=True)):
        chosen = [n for n in rng.permutation(12).tolist() if rng.random() < 0.6 and at[n] < len(rows[n][0])]
        if chosen:
            ends = [at[n] + int(rng.integers(1, 17)) for n in chosen]
            parts = [[rows[n][which][at[n] : end] for n, end in zip(chosen, ends, strict=True)] for which in (0, 1)]
            step(ctc, [slots[n] for n in chosen], *parts)
            for n, end in zip(chosen, ends, strict=True):
                at[n] = min(end, len(rows[n][0]))
    assert [values(nbest) for nbest in ctc.nbest(slots)] == alone


def test_recorded_vectors_still_come_out():
    for case in json.loads(DATA.read_text())["cases"]:
        rows = np.array(case["log_probs"], np.float32), np.array(case["ids"], np.int32)
        expected = [Hypothesis(*(tuple(x) if isinstance(x, list) else x for x in h)) for h in case["nbest"]]
        assert_same(expected, values(search(*rows, SearchOptions(**case["options"]))))


def test_unlisted_blank_is_nearly_impossible_but_no_error():
    log_probs, ids = np.log(np.array([[0.6, 0.3], [0.7, 0.2]], np.float32)), np.array([[1, 2], [1, 2]], np.int32)
    nbest = search(log_probs, ids, SearchOptions())
    assert [tokens.tolist() for tokens in nbest.tokens] == [[1], [2, 1], [1, 2], [2]]
    assert nbest.trailing_blank_frames == 0


@pytest.mark.parametrize("bad", [-np.inf, np.nan, -1e30])
@pytest.mark.parametrize("options", [GREEDY, SearchOptions()])
def test_a_frame_that_allows_nothing_keeps_the_hypotheses(bad, options):
    rng = np.random.default_rng(3)
    log_probs, ids = lattice(rng, 20, 10, 5)
    before = values(search(log_probs, ids, options))
    log_probs = np.concatenate([log_probs, np.full((3, 5), bad, np.float32)])
    after = search(log_probs, np.concatenate([ids, ids[:3]]), options)
    assert [h.tokens for h in before] == [h.tokens for h in values(after)]
    assert np.isfinite(after.scores).all()
    assert after.frames == 23


def test_ties_go_to_the_smaller_id():
    log_probs = np.full((1, 4), np.log(0.25), np.float32)
    nbest = search(log_probs, np.array([[3, 0, 2, 1]], np.int32), SearchOptions())
    assert [tokens.tolist() for tokens in nbest.tokens] == [[], [1], [2], [3]]


def test_trailing_blanks_count_frames_whose_blank_is_above_0_8():
    probs = np.array([[0.1, 0.9], [0.81, 0.19], [0.9, 0.1], [0.95, 0.05]])
    nbest = search(*top_k(np.log(probs), 2), SearchOptions())
    assert (nbest.trailing_blank_frames, nbest.frames) == (3, 4)


def test_reset_starts_a_segment_and_close_frees_every_node():
    ctc = CtcSearch(3, 0)
    rng = np.random.default_rng(4)
    rows = lattice(rng, 60, 30, 10)
    for slot in range(3):
        ctc.open(slot, SearchOptions())
    first = []
    for _ in range(2):
        step(ctc, [0, 2], [rows[0]] * 2, [rows[1]] * 2)
        first.append(values(ctc.nbest([2])[0]))
        ctc.reset(2)
    assert first[0] == first[1]
    assert ctc.nbest([2])[0].frames == 0
    for slot in range(3):
        ctc.close(slot)
    assert ctc.num_nodes == 0
    ctc.check_integrity()


@pytest.mark.parametrize("options", [GREEDY, SearchOptions(beam_size=6)])
def test_utterances_without_end_only_grow_the_pool(options):
    ctc = CtcSearch(1, 0)
    ctc.open(0, options)
    rng = np.random.default_rng(6)
    frames = 8000
    log_probs, ids = lattice(rng, frames, 30, 8, 5.0, 0.2)
    for start in range(0, frames, 400):
        step(ctc, [0], [log_probs[start : start + 400]], [ids[start : start + 400]])
    (nbest,) = ctc.nbest([0], limit=1)
    assert len(nbest.tokens) == 1
    assert len(nbest.tokens[0]) > 2000
    assert (np.diff(nbest.times[0]) > 0).all()
    assert nbest.frames == frames
    assert ctc.num_nodes < 6 * len(nbest.tokens[0])
    ctc.check_integrity()


def test_blank_penalty_brings_out_a_weak_token():
    log_probs, ids = top_k(np.log(np.array([[0.7, 0.3], [0.9, 0.1]])), 2)
    for method in ("ctc_greedy", "ctc_prefix_beam"):
        with_penalty = search(log_probs, ids, SearchOptions(method=method, blank_penalty=1.5))
        assert search(log_probs, ids, SearchOptions(method=method)).tokens[0].tolist() == []
        assert with_penalty.tokens[0].tolist() == [1]


@pytest.mark.parametrize(
    "wrong",
    [{"method": "viterbi"}, {"beam_size": 0}, {"top_k": 0}, {"cutoff_prob": 0.0}, {"blank_skip": 1.1},
     {"blank_penalty": -101.0}],
)  # fmt: skip
def test_impossible_options_are_refused_by_name(wrong):
    with pytest.raises(BadOption, match=next(iter(wrong))):
        SearchOptions(**wrong)


def test_a_beam_above_the_servers_is_refused():
    with pytest.raises(BadOption, match=r"33.*32"):
        CtcSearch(1, 0).open(0, SearchOptions(beam_size=33))
