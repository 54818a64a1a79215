"""Hotwords and language models in the transducers' searches: the real ones, where test_transducer_search has a toy."""

import numpy as np
import pytest

from speech.biasing import Bias, build_graph, fit_lm, read_arpa
from speech.search.reference import bonus_of
from speech.search.transducer import TransducerOptions, TransducerSearch
from speech.search.transducer.reference import Reference
from speech.tokens import TokenTable
from tests.speech.biasing.arpa_models import random_arpa
from tests.speech.test_transducer_search import START, UNK, Toy, assert_same, frames, run

TABLE = TokenTable(["<blk>", "▁A", "<unk>", "▁", "A", "B", "C", "▁AB", "▁C"])


def random_bias(rng):
    phrases = [rng.integers(3, 9, size=rng.integers(1, 5)).tolist() for _ in range(6)]
    graph = build_graph(phrases, rng.uniform(0.2, 3, size=6).tolist())
    lm = fit_lm(read_arpa(random_arpa(rng, ["a", "b", "ab", "ca"], 3).splitlines()), TABLE)
    return Bias(graph, lm, lm_weight=0.5, lm_bonus=1.0)


@pytest.mark.parametrize("method", ["modified_beam_search", "fast_beam_search"])
def test_biased_transducer_search_equals_the_plain_reference(method):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        toy, bias = Toy(seed), random_bias(rng)
        options = TransducerOptions(method=method, beam_size=4)
        search, reference = TransducerSearch(2, toy, START, UNK, 8), Reference(toy, START, options, UNK, bias)
        search.open(1, options, bias)
        part = frames(rng, 20)
        run(search, {1: part}, cuts=[5, 11])
        reference.push(part)
        assert_same(reference.nbest(), search.nbest([1])[0])


def test_a_hotword_wins_in_modified_beam_search():
    rng, options = np.random.default_rng(3), TransducerOptions(method="modified_beam_search", beam_size=8)
    toy, part = Toy(3), frames(np.random.default_rng(3), 12)
    search = TransducerSearch(2, toy, START, UNK, 8)
    search.open(0, options)
    run(search, {0: part})
    plain = [tokens.tolist() for tokens in search.nbest([0])[0].tokens]
    phrase = next(tokens for tokens in plain[1:] if tokens and tokens != plain[0][: len(tokens)])
    bias = Bias(build_graph([phrase], [float(rng.uniform(15, 20))]))
    search.open(1, options, bias)
    run(search, {1: part})
    best = search.nbest([1])[0].tokens[0].tolist()
    assert bonus_of(bias, tuple(best), closed=True) > 0
    assert best != plain[0]
