import numpy as np
import pytest

from speech.biasing import Bias, build_graph, fit_lm, read_arpa
from speech.search import CtcSearch, SearchOptions
from speech.search.reference import bonus_of, prefix_beam_search
from speech.tokens import TokenTable
from tests.speech.biasing.arpa_models import random_arpa
from tests.speech.test_ctc_search import lattice, step

PIECES = ["<blank>", "▁A", "▁", "A", "B", "C", "▁AB", "AB", "▁C", "CC"]
TABLE = TokenTable(PIECES)


def random_bias(rng):
    graph = lm = None
    kind = rng.integers(3)
    if kind != 0:
        phrases = [rng.integers(1, 10, size=rng.integers(1, 6)).tolist() for _ in range(6)]
        graph = build_graph(phrases, rng.uniform(0.2, 4, size=6).tolist(), strict=bool(rng.integers(2)))
    if kind != 1:
        text = random_arpa(rng, ["a", "b", "ab", "abc", "cc", "ccab"], int(rng.integers(1, 4)))
        lm = fit_lm(read_arpa(text.splitlines()), TABLE)
    return Bias(graph, lm, lm_weight=rng.uniform(0.1, 2), lm_bonus=rng.uniform(-2, 3))


def search(rows, options, bias, cuts=()):
    ctc = CtcSearch(2, 0)
    ctc.open(1, options, bias)
    for part, ids in zip(np.split(rows[0], cuts), np.split(rows[1], cuts), strict=True):
        step(ctc, [1], [part], [ids])
    (nbest,) = ctc.nbest([1])
    ctc.check_integrity()
    return nbest


def texts(nbest):
    return [tuple(tokens.tolist()) for tokens in nbest.tokens]


@pytest.mark.parametrize("seed", range(30))
def test_biased_search_equals_the_plain_reference(seed):
    rng = np.random.default_rng(seed)
    for _ in range(3):
        bias = random_bias(rng)
        options = SearchOptions(beam_size=int(rng.integers(1, 13)), top_k=int(rng.integers(2, 11)))
        rows = lattice(rng, 25, 10, 10, rng.uniform(0.5, 3), rng.uniform(-0.5, 1))
        expected = prefix_beam_search(*rows, 0, options, bias)
        got = search(rows, options, bias)
        assert texts(got) == [h.tokens for h in expected]
        np.testing.assert_allclose(got.scores, [h.score for h in expected], atol=1e-4)
        np.testing.assert_allclose(got.totals - got.scores, [bonus_of(bias, h.tokens) for h in expected], atol=1e-6)
        assert [tuple(t.tolist()) for t in got.times] == [h.times for h in expected]
        closed = got.closed()
        bonuses = [bonus_of(bias, tokens, closed=True) for tokens in texts(closed)]
        np.testing.assert_allclose(closed.totals - closed.scores, bonuses, atol=1e-6)
        assert (np.diff(closed.totals) <= 0).all()


def test_a_hotword_wins_by_its_boost():
    rows = lattice(np.random.default_rng(7), 30, 10, 10, 1.0, 0.3)
    plain = search(rows, SearchOptions(beam_size=32), None)
    phrase = plain.tokens[5].tolist()
    biased = search(rows, SearchOptions(beam_size=32), Bias(build_graph([phrase], [2.0]))).closed()
    assert plain.tokens[0].tolist() != phrase
    assert biased.tokens[0][: len(phrase)].tolist() == phrase
    assert biased.bonus.hotwords[0] == pytest.approx(2.0 * len(phrase))


def test_chunks_give_the_same_bits_as_the_whole():
    rng = np.random.default_rng(3)
    bias, rows = random_bias(rng), lattice(rng, 60, 10, 10)
    whole = search(rows, SearchOptions(), bias)
    for cuts in ([1], [16, 32, 48], list(range(1, 60))):
        pieces = search(rows, SearchOptions(), bias, cuts)
        assert texts(pieces) == texts(whole)
        np.testing.assert_array_equal(pieces.totals, whole.totals)


def test_a_bias_does_not_touch_its_neighbours_nor_the_next_stream_in_its_slot():
    rng = np.random.default_rng(4)
    rows = lattice(rng, 40, 10, 10)
    alone = search(rows, SearchOptions(), None)
    ctc = CtcSearch(2, 0)
    ctc.open(0, SearchOptions(), random_bias(rng))
    ctc.open(1, SearchOptions())
    step(ctc, [0, 1], [rows[0]] * 2, [rows[1]] * 2)
    ctc.open(0, SearchOptions())
    step(ctc, [0], [rows[0]], [rows[1]])
    for nbest in ctc.nbest([0, 1]):
        assert texts(nbest) == texts(alone)
        np.testing.assert_array_equal(nbest.scores, alone.scores)
        assert nbest.bonus is None


@pytest.mark.parametrize("first", [None, [[1, 3, 4], [5]]])
def test_other_hotwords_in_mid_segment_keep_what_is_earned_and_pay_back_the_rest(first):
    rng = np.random.default_rng(5)
    rows = lattice(rng, 40, 10, 10, 2.0)
    old = None if first is None else Bias(build_graph(first, [1.5] * len(first)))
    new = Bias(build_graph([[3, 4], [7, 5]], [2.0, 1.0]))
    ctc = CtcSearch(1, 0)
    ctc.open(0, SearchOptions(beam_size=32), old)
    step(ctc, [0], [rows[0][:20]], [rows[1][:20]])
    ctc.rebias(0, new)
    (before,) = ctc.nbest([0])
    step(ctc, [0], [rows[0][20:]], [rows[1][20:]])
    (after,) = ctc.nbest([0])
    starts = {tokens: bonus_of(old, tokens, closed=True) if old else 0.0 for tokens in texts(before)}
    np.testing.assert_allclose(before.bonus.hotwords, list(starts.values()), atol=1e-6)
    for tokens, bonus in zip(texts(after), after.bonus.hotwords, strict=True):
        # A hypothesis goes back to one of those alive at the change, of which the longest may have been its own.
        ways = [starts[tokens[:n]] + bonus_of(new, tokens[n:]) for n in range(len(tokens) + 1) if tokens[:n] in starts]
        assert any(bonus == pytest.approx(way, abs=1e-6) for way in ways)
    assert after.bonus.hotwords.max() > 0


def test_the_same_hotwords_again_change_nothing():
    rows = lattice(np.random.default_rng(6), 40, 10, 10)
    graph = build_graph([[3, 4, 5, 7]], [2.0])
    whole = search(rows, SearchOptions(), Bias(graph))
    ctc = CtcSearch(1, 0)
    ctc.open(0, SearchOptions(), Bias(graph))
    for part in (slice(0, 13), slice(13, 40)):
        ctc.rebias(0, Bias(graph))
        step(ctc, [0], [rows[0][part]], [rows[1][part]])
    np.testing.assert_array_equal(ctc.nbest([0])[0].totals, whole.totals)


def test_greedy_search_has_no_bias():
    rows = lattice(np.random.default_rng(8), 40, 10, 10)
    greedy = SearchOptions(method="ctc_greedy")
    assert texts(search(rows, greedy, Bias(build_graph([[3]], [50.0])))) == texts(search(rows, greedy, None))
