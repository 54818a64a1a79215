"""LODR against icefall's and sherpa-onnx's definition: an automaton walked by sets of states, in dictionaries."""

import math

import numpy as np
import pytest

from speech.biasing import Bias, build_graph, fit_lm, fit_lodr, read_arpa, read_kenlm
from speech.errors import BadLanguageModel, BadOption
from speech.search import SearchOptions
from speech.search.reference import prefix_beam_search
from speech.search.transducer import TransducerOptions, TransducerSearch
from speech.search.transducer.reference import Reference
from speech.tokens import TokenTable
from tests.speech.biasing.arpa_models import random_arpa
from tests.speech.biasing.test_kenlm import binary
from tests.speech.test_biased_search import search
from tests.speech.test_ctc_search import lattice
from tests.speech.test_transducer_search import START, UNK, Toy, assert_same, frames, run

PIECES = ["<blk>", "▁A", "<unk>", "▁", "A", "B", "C", "▁AB", "▁C"]
TABLE = TokenTable(PIECES)
KNOWN = [*PIECES[3:], "▁A"]


class Automaton:
    """States are histories, () or (word,); an arc has a cost; () is where backing off leads."""

    def __init__(self, text):
        self.arcs, self.backoffs = {}, {}
        for line in text.splitlines():
            fields = line.split()
            if fields and fields[0].startswith("-"):
                log10, words = float(fields[0]), fields[1:]
                backoff = float(words.pop()) if words[-1][0] == "-" else 0.0
                self.arcs.setdefault(tuple(words[:-1]), {})[words[-1]] = -log10 * math.log(10)
                if len(words) == 1:
                    self.backoffs[words[0],] = -backoff * math.log(10)

    def forward(self, costs, word):
        """ForwardOneStep of LodrStateCost: from each state, and from where its back-off leads."""
        following = {}
        for state, cost in costs.items():
            ways = [(state, cost)] + [((), cost + self.backoffs[state])] * bool(state)
            for place, so_far in ways:
                if word in self.arcs.get(place, {}):
                    total = so_far + self.arcs[place][word]
                    following[word,] = min(following.get((word,), math.inf), total)
        return following


def subtracted(automaton, words):
    """What each word adds to the scores by a weight of 1."""
    costs, found = {("<s>",): 0.0}, []
    for word in words:
        following = automaton.forward(costs, word)
        found.append(min(following.values()) - min(costs.values()))
        costs = following
    return found


class SlowBias:
    """A language model as it is, and an automaton walked anew for every token; states are numbers of prefixes."""

    def __init__(self, bias, automaton, weight):
        self.bias, self.automaton, self.weight = bias, automaton, weight
        self.prefixes = [((), bias.start)]
        self.start = np.zeros(1, np.int32)

    def advance(self, states, tokens):
        tokens_before, state = self.prefixes[states[0][0]]
        gains, following = self.bias.advance(state[np.newaxis], tokens)
        prefix = (*tokens_before, int(tokens[0]))
        gains[0, 1] += self.weight * subtracted(self.automaton, [PIECES[token] for token in prefix])[-1]
        self.prefixes.append((prefix, following[0]))
        return gains, np.array([[len(self.prefixes) - 1]], np.int32)


def bigram(seed, words=KNOWN, order=2):
    return random_arpa(np.random.default_rng(seed), words, order, with_unknown=False)


@pytest.mark.parametrize("seed", range(8))
def test_each_token_is_subtracted_as_the_automaton_says(seed):
    rng, text = np.random.default_rng(seed), bigram(seed)
    bias = Bias(lodr=fit_lodr(read_arpa(text.splitlines()), TABLE), lodr_weight=0.5)
    for _ in range(20):
        tokens = rng.choice([1, 3, 4, 5, 6, 7, 8], size=12)
        states, found = bias.start[np.newaxis], []
        for token in tokens:
            gain, states = bias.advance(states, np.array([token], np.int32))
            found.append(float(gain[0, 1]))
        expected = subtracted(Automaton(text), [PIECES[token] for token in tokens])
        assert found == pytest.approx([0.5 * each for each in expected], abs=1e-5)
        assert max(found) <= bias.max_gain + 1e-5
        assert bias.finish(states).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("method", ["modified_beam_search", "fast_beam_search"])
@pytest.mark.parametrize("seed", range(3))
def test_transducer_search_with_lodr_equals_the_slow_reference(seed, method):
    rng, text = np.random.default_rng(seed), bigram(seed)
    lm = fit_lm(read_arpa(random_arpa(rng, ["a", "b", "ab", "ca"], 3).splitlines()), TABLE)
    lodr = fit_lodr(read_arpa(text.splitlines()), TABLE)
    bias = Bias(lm=lm, lm_weight=0.5, lm_bonus=1.0, lodr=lodr, lodr_weight=0.3)
    slow = SlowBias(Bias(lm=lm, lm_weight=0.5, lm_bonus=1.0), Automaton(text), 0.3)
    options, toy, part = TransducerOptions(method=method, beam_size=4), Toy(seed), frames(rng, 25)
    found, reference = TransducerSearch(2, toy, START, UNK, 8), Reference(toy, START, options, UNK, slow)
    found.open(1, options, bias)
    run(found, {1: part}, cuts=[6, 13])
    reference.push(part)
    assert len(reference.nbest()[0].tokens) > 3
    assert_same(reference.nbest(), found.nbest([1])[0])


def test_the_bound_on_gains_loses_nothing_in_prefix_beam_search():
    """CTC searches prune by it; the reference does not."""
    table = TokenTable(["<blank>", "▁A", "▁", "A", "B", "C", "▁AB", "AB", "▁C", "CC"])
    lodr = fit_lodr(read_arpa(bigram(1, table.pieces[1:]).splitlines()), table)
    bias, options = Bias(lodr=lodr, lodr_weight=0.4), SearchOptions(beam_size=5)
    for seed in range(4):
        rows = lattice(np.random.default_rng(seed), 25, 10, 10, 2.0, 0.0)
        expected = [h.tokens for h in prefix_beam_search(*rows, 0, options, bias)]
        assert [tuple(tokens.tolist()) for tokens in search(rows, options, bias).tokens] == expected


def test_other_hotwords_in_mid_stream_leave_it_as_it_is():
    lodr = fit_lodr(read_arpa(bigram(0).splitlines()), TABLE)
    bias = Bias(lodr=lodr, lodr_weight=0.4).with_graph(build_graph([[1, 4]], [1.0]))
    assert (bias.lodr, bias.lodr_weight) == (lodr, 0.4)
    assert Bias(lodr=lodr).lodr is None, "without a weight it is off"


def test_tokens_that_the_bigram_does_not_know_add_nothing_and_begin_anew():
    text = bigram(0, ["▁A", "A", "B", "▁AB"])
    bias = Bias(lodr=fit_lodr(read_arpa(text.splitlines()), TABLE), lodr_weight=1.0)
    states, found = bias.start[np.newaxis], []
    for token in [1, 6, 4]:
        gain, states = bias.advance(states, np.array([token], np.int32))
        found.append(float(gain[0, 1]))
    assert found[1] == 0.0
    assert found[2] == pytest.approx(Automaton(text).arcs[()]["A"], abs=1e-5)


@pytest.mark.parametrize(
    ("lm", "message"),
    [
        (lambda: read_arpa(bigram(0, order=3).splitlines()), "this is a 3-gram"),
        (lambda: read_arpa(bigram(0, ["cat", "dog"]).splitlines()), "knows 0% of them"),
        (lambda: read_kenlm(binary("probing")), "no probing tables"),
    ],
)
def test_what_is_no_bigram_over_the_tokens_is_refused(lm, message):
    with pytest.raises(BadLanguageModel, match=message):
        fit_lodr(lm(), TABLE)


def test_an_impossible_weight_is_refused_by_name():
    with pytest.raises(BadOption, match="lodr_weight is 11"):
        Bias(lodr_weight=11.0)
