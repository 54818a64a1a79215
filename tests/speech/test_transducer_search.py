import itertools

import numpy as np
import pytest

from speech.biasing import Bias, build_graph
from speech.errors import BadOption
from speech.search.transducer import TransducerOptions, TransducerSearch
from speech.search.transducer.reference import Reference

METHODS = ("greedy_search", "modified_beam_search", "fast_beam_search")
START = (-1, 0)
UNK = 2


class Toy:
    """Random networks: each token has a vector for each place of the context; the joiner is tanh and a product."""

    context_size = 2
    decoder_size = 6

    def __init__(self, seed, vocab=9, blank_bias=2.0, dim=6):
        rng = np.random.default_rng(seed)
        self.vocab_size = vocab
        self.tables = rng.normal(size=(2, vocab + 1, dim)).astype(np.float32)  # row -1 is for no token
        self.output = (rng.normal(size=(dim, vocab)) * 2).astype(np.float32)
        self.bias = np.zeros(vocab, np.float32)
        self.bias[0] = blank_bias
        self.decoded = []

    def decode(self, contexts):
        assert contexts.dtype == np.int64
        self.decoded += [tuple(context) for context in contexts.tolist()]
        return self.tables[0][contexts[:, 0]] + self.tables[1][contexts[:, 1]]

    def join(self, encoder_rows, decoder_rows):
        # Row by row: a product of many rows may round otherwise than that of one.
        return np.stack(
            [np.tanh(e + d) @ self.output + self.bias for e, d in zip(encoder_rows, decoder_rows, strict=True)]
        )


class Likes:
    """A bias that likes some pairs of neighbouring tokens, and takes a part back where the pair is not completed."""

    def __init__(self, seed, vocab=9):
        self.scores = np.random.default_rng(seed).normal(size=(vocab + 1, vocab)) * 1.5

    start = np.array([-1, 7, 0, 5], np.int32)

    def advance(self, states, tokens):
        assert (states[:, [1, 3]] == (7, 5)).all(), "states are given back as they were"
        gain = self.scores[states[:, 0], tokens]
        after = np.stack([tokens, states[:, 1], states[:, 0], states[:, 3]], axis=1)
        return np.stack([0.25 * gain, 0.75 * gain], axis=1), after

    def finish(self, states):
        return -0.3 * states[:, [0, 2]].astype(np.float64)


def frames(rng, count, dim=6):
    return (rng.normal(size=(count, dim)) * 1.5).astype(np.float32)


def run(search, streams, cuts=()):
    """Push each slot's frames, all slots in one batch, cut into steps at `cuts`; the batch is padded."""
    slots = np.array(list(streams), np.int32)
    longest = max(map(len, streams.values()))
    for begin, end in itertools.pairwise([0, *cuts, longest]):
        batch = np.full((len(slots), end - begin, 6), np.nan, np.float32)  # padding must never be read
        counts = np.zeros(len(slots), np.int32)
        for row, slot in enumerate(streams):
            part = streams[slot][begin:end]
            batch[row, : len(part)], counts[row] = part, len(part)
        search.step(slots, batch, counts)


def assert_same(expected, nbest, tolerance=1e-5):
    assert [path.tokens for path in expected] == [tuple(tokens.tolist()) for tokens in nbest.tokens]
    np.testing.assert_allclose(nbest.scores, [path.score for path in expected], atol=tolerance)
    assert [path.times for path in expected] == [tuple(times.tolist()) for times in nbest.times]
    for path, confidences in zip(expected, nbest.confidences, strict=True):
        np.testing.assert_allclose(confidences, path.confidences, atol=1e-5)
    assert nbest.trailing_blank_frames == expected[0].trailing


def random_options(rng, method):
    return TransducerOptions(
        method=method,
        beam_size=int(rng.integers(1, 9)),
        max_symbols=int(rng.integers(1, 4)),
        beam=float(rng.choice([2.0, 20.0])),
        max_contexts=int(rng.integers(1, 9)),
        max_states=int(rng.integers(1, 9)),
        blank_penalty=float(rng.choice([0.0, 1.0])),
        temperature=float(rng.choice([1.0, 2.0])),
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_search_of_a_ragged_batch_equals_the_plain_reference_of_each_stream(method, with_bias):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        toy, bias = Toy(seed, blank_bias=rng.uniform(0, 4)), Likes(seed) if with_bias else None
        if method == "greedy_search":
            bias = None
        search = TransducerSearch(5, toy, START, UNK, max_beam=8)
        streams = {slot: frames(rng, int(rng.integers(1, 25))) for slot in (3, 0, 4)}
        options = {slot: random_options(rng, method) for slot in streams}
        for slot in streams:
            search.open(slot, options[slot], bias)
        run(search, streams, cuts=sorted(rng.integers(0, max(map(len, streams.values())) + 1, size=2).tolist()))
        search.check_integrity()
        for slot, nbest in zip(streams, search.nbest(list(streams)), strict=True):
            reference = Reference(toy, START, options[slot], UNK, bias)
            reference.push(streams[slot])
            assert_same(reference.nbest(), nbest)
            assert nbest.frames == len(streams[slot])


@pytest.mark.parametrize("method", METHODS)
def test_next_segment_goes_on_from_the_last_tokens(method):
    for seed in range(6):
        rng = np.random.default_rng(seed + 50)
        toy, options, bias = Toy(seed), random_options(rng, method), None if method == "greedy_search" else Likes(seed)
        search, reference = TransducerSearch(2, toy, START, UNK, 8), Reference(toy, START, options, UNK, bias)
        search.open(1, options, bias)
        for _ in range(3):
            part = frames(rng, int(rng.integers(1, 9)))
            run(search, {1: part})
            reference.push(part)
            assert_same(reference.nbest(), search.nbest([1])[0])
            search.reset(1, bias)
            reference.restart()
            assert_same(reference.nbest(), search.nbest([1])[0])
        search.check_integrity()


def test_methods_mix_in_one_batch():
    rng, toy = np.random.default_rng(1), Toy(1)
    search = TransducerSearch(3, toy, START, UNK)
    streams = {slot: frames(rng, 12) for slot in range(3)}
    for slot, method in enumerate(METHODS):
        search.open(slot, TransducerOptions(method=method, max_symbols=2))
    run(search, streams)
    for slot, method in enumerate(METHODS):
        reference = Reference(toy, START, TransducerOptions(method=method, max_symbols=2), UNK)
        reference.push(streams[slot])
        assert_same(reference.nbest(), search.nbest([slot])[0])


def test_segment_without_tokens_is_followed_by_the_start_context():
    toy = Toy(0, blank_bias=100.0)
    search = TransducerSearch(1, toy, START)
    search.open(0, TransducerOptions())
    run(search, {0: frames(np.random.default_rng(0), 5)})
    assert len(search.nbest([0])[0].tokens[0]) == 0
    search.reset(0)
    search._cache.contexts[:] = -99
    toy.decoded.clear()
    run(search, {0: frames(np.random.default_rng(0), 1)})
    assert toy.decoded == [START]


def test_decoder_runs_only_for_contexts_that_are_new():
    toy = Toy(3)
    search = TransducerSearch(2, toy, START)
    same = frames(np.random.default_rng(3), 30)
    for slot in (0, 1):
        search.open(slot, TransducerOptions(method="greedy_search"))
    run(search, {0: same})
    emitted = len(search.nbest([0])[0].tokens[0])
    assert 0 < emitted < 30
    assert len(toy.decoded) <= emitted + 1
    before = len(toy.decoded)
    run(search, {1: same})
    assert len(toy.decoded) == before, "another stream's contexts are remembered"


def test_unknown_token_is_neither_written_nor_context():
    toy = Toy(4, blank_bias=0.0)
    toy.bias[UNK] = 50.0
    for method in METHODS:
        search = TransducerSearch(1, toy, START, UNK)
        search.open(0, TransducerOptions(method=method))
        run(search, {0: frames(np.random.default_rng(4), 6)})
        nbest = search.nbest([0])[0]
        assert nbest.tokens[0].tolist() == []
        assert nbest.trailing_blank_frames == 6


def test_bias_turns_the_best_hypothesis():
    toy, rng = Toy(5), np.random.default_rng(5)
    part = frames(rng, 15)

    class Loves7(Likes):
        def __init__(self):
            self.scores = np.zeros((10, 9))
            self.scores[:, 7] = 6.0

        def finish(self, states):
            return np.zeros((len(states), 2))

    counts = []
    for bias in (None, Loves7()):
        search = TransducerSearch(1, toy, START, UNK)
        search.open(0, TransducerOptions(beam_size=8), bias)
        run(search, {0: part})
        counts.append((search.nbest([0])[0].tokens[0] == 7).sum())
    assert counts[1] > counts[0]


def test_hotwords_of_a_context_graph_are_found_and_paid_back_when_unfinished():
    toy, rng = Toy(6), np.random.default_rng(6)
    part = frames(rng, 12)
    search = TransducerSearch(1, toy, START, UNK)
    search.open(0, TransducerOptions(beam_size=8))
    run(search, {0: part})
    plain = search.nbest([0])[0]
    said = plain.tokens[1].tolist()
    bias = Bias(build_graph([said[:3]], [2.0]))
    search.open(0, TransducerOptions(beam_size=8), bias)
    run(search, {0: part})
    biased = search.nbest([0])[0]
    assert biased.bonus is not None
    assert biased.bonus.hotwords.max() > 0
    reference = Reference(toy, START, TransducerOptions(beam_size=8), UNK, bias)
    reference.push(part)
    assert_same(reference.nbest(), biased)
    np.testing.assert_allclose(biased.totals, [path.total for path in reference.nbest()], atol=1e-5)
    closed = biased.closed()
    ranks = closed.totals / [len(tokens) + 2 for tokens in closed.tokens]
    assert (np.diff(ranks) <= 1e-12).all()
    search.rebias(0, None)
    np.testing.assert_allclose(np.sort(search.nbest([0])[0].totals), np.sort(closed.totals), atol=1e-9)


def test_logits_that_are_no_numbers_count_as_blank():
    toy = Toy(7)
    for method in METHODS:
        search = TransducerSearch(1, toy, START)
        search.open(0, TransducerOptions(method=method))
        search.step(np.array([0], np.int32), np.full((1, 3, 6), np.nan, np.float32), np.array([3]))
        nbest = search.nbest([0])[0]
        assert (nbest.tokens[0].tolist(), nbest.frames, nbest.trailing_blank_frames) == ([], 3, 3)
        assert np.isfinite(nbest.scores).all()


def test_closed_slots_leave_no_node():
    toy, rng = Toy(8, blank_bias=0.0), np.random.default_rng(8)
    search = TransducerSearch(8, toy, START, UNK)
    for _ in range(5):
        for slot in range(8):
            search.open(slot, TransducerOptions(method=METHODS[slot % 3], beam_size=8))
        run(search, {slot: frames(rng, 60) for slot in range(8)})
        assert search.num_nodes > 0
        search.check_integrity()
        for slot in range(8):
            search.close(slot)
        assert search.num_nodes == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "ctc_greedy"},
        {"beam_size": 0},
        {"beam_size": 33},
        {"max_symbols": 11},
        {"temperature": 0.0},
        {"beam": float("nan")},
        {"max_states": 0},
    ],
)
def test_options_outside_their_range_are_refused_by_name(wrong):
    with pytest.raises(BadOption, match=next(iter(wrong))):
        TransducerOptions(**wrong)


def test_wider_beam_than_the_search_has_room_for_is_refused():
    search = TransducerSearch(1, Toy(0), START, max_beam=4)
    with pytest.raises(BadOption, match="keeps 5 hypotheses; this server allows up to 4"):
        search.open(0, TransducerOptions(beam_size=5))


def test_start_context_of_another_size_is_refused():
    with pytest.raises(BadOption, match="takes 2 tokens"):
        TransducerSearch(1, Toy(0), (0,))
