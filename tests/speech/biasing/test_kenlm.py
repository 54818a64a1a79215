"""KenLM's binaries against the ARPA file they were made of, and against KenLM. See tests/data/lm/README.md."""

import math
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from speech.biasing import Bias, HashedLm, fit_lm, read_arpa, read_kenlm
from speech.errors import BadLanguageModel
from speech.search import SearchOptions
from speech.search.transducer import TransducerOptions, TransducerSearch
from speech.tokens import TokenTable
from tests.speech.biasing.test_language_models import PIECES, gains
from tests.speech.test_biased_search import TABLE, search, texts
from tests.speech.test_biased_transducer import TABLE as TRANSDUCER_TABLE
from tests.speech.test_ctc_search import lattice
from tests.speech.test_transducer_search import START, UNK, Toy, frames, run

FOLDER = Path(__file__).parents[2] / "data/lm"
EXACT = ["probing", "trie", "trie-a4"]
QUANTISED = ["trie-q4-b3", "trie-q4-b3-a4"]
KIND, HAS_WORDS, ORDER, VERSION = 96, 100, 88, 51  # bytes of the header


def binary(name):
    return np.fromfile(FOLDER / f"{name}.bin", np.uint8)


def arpa():
    return read_arpa((FOLDER / "words.arpa").read_text().splitlines())


def bias_of(lm, table, weight=1.0):
    return Bias(lm=fit_lm(lm, table), lm_weight=weight)


def sentences(count):
    rng = np.random.default_rng(0)
    return [rng.integers(2, 10, size=20).tolist() for _ in range(count)]


@pytest.mark.parametrize("name", EXACT)
def test_every_token_scores_as_by_the_arpa_file(name):
    table = TokenTable(PIECES)
    ours, theirs = bias_of(read_kenlm(binary(name)), table), bias_of(arpa(), table)
    for tokens in sentences(100):
        assert gains(ours, tokens) == pytest.approx(gains(theirs, tokens), abs=1e-5)


@pytest.mark.parametrize("name", EXACT + QUANTISED)
def test_sentences_score_as_in_kenlm(name):
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm is not installed")
    theirs, table = kenlm.Model(str(FOLDER / f"{name}.bin")), TokenTable(PIECES)
    ours = bias_of(read_kenlm(binary(name)), table)
    for tokens in sentences(50):
        expected = theirs.score(table.text(tokens).lower(), bos=True, eos=True) * math.log(10)
        assert sum(gains(ours, tokens)) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", ["probing", "trie"])
def test_prefix_beam_search_finds_the_same_by_binary_and_arpa(name):
    rng = np.random.default_rng(1)
    ours, theirs = bias_of(read_kenlm(binary(name)), TABLE, 0.3), bias_of(arpa(), TABLE, 0.3)
    largest = []
    for _ in range(8):
        rows = lattice(rng, 40, 10, 10, 2.0, 0.0)
        got, expected = (search(rows, SearchOptions(beam_size=6), bias) for bias in (ours, theirs))
        assert texts(got) == texts(expected)
        np.testing.assert_allclose(got.closed().totals, expected.closed().totals, atol=1e-5)
        largest.append(np.abs(expected.bonus.lm).max())
    assert np.median(largest) > 1  # words were scored, not only ends


@pytest.mark.parametrize("name", ["probing", "trie"])
def test_modified_beam_search_finds_the_same_by_binary_and_arpa(name):
    options, part = TransducerOptions(method="modified_beam_search", beam_size=4), frames(np.random.default_rng(2), 60)
    found = TransducerSearch(2, Toy(2), START, UNK, 8)
    for slot, lm in enumerate([read_kenlm(binary(name)), arpa()]):
        found.open(slot, options, bias_of(lm, TRANSDUCER_TABLE, 0.2))
    run(found, {0: part, 1: part}, cuts=[7])
    got, expected = found.nbest([0, 1])
    assert texts(got) == texts(expected)
    np.testing.assert_allclose(got.closed().totals, expected.closed().totals, atol=1e-5)
    assert np.abs(expected.bonus.lm).max() > 1


def test_threads_share_one_probing_model():
    """They write the same histories, so whoever comes first, all see the same."""
    table, alone = TokenTable(PIECES), bias_of(read_kenlm(binary("probing")), TokenTable(PIECES))
    expected = [gains(alone, tokens) for tokens in sentences(40)]
    shared = bias_of(read_kenlm(binary("probing")), table)
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(lambda _: [gains(shared, tokens) for tokens in sentences(40)], range(8)):
            assert found == expected


def test_a_probing_model_is_kept_as_it_is_and_a_trie_is_listed():
    probing, trie, text = read_kenlm(binary("probing")), read_kenlm(binary("trie")), arpa()
    assert isinstance(probing, HashedLm)
    assert set(probing.words) == set(trie.words) == set(text.words)
    assert (probing.order, probing.num_ngrams) == (text.order, text.num_ngrams)
    assert probing.num_bytes < 40_000
    expected = {word: float(p) for word, p in zip(text.words, text.unigram_log_probs, strict=True)}
    for lm, unit in ((probing, math.log(10)), (trie, 1.0)):
        found = {word: float(p) * unit for word, p in zip(lm.words, lm.unigram_log_probs, strict=True)}
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", EXACT + QUANTISED)
def test_a_file_cut_short_is_refused(name):
    data = binary(name)
    for size in [*range(0, len(data), 61), len(data) - 1]:
        with pytest.raises(BadLanguageModel, match="KenLM binary"):
            read_kenlm(data[:size].copy())


@pytest.mark.parametrize("name", EXACT + QUANTISED)
def test_a_damaged_file_is_refused_or_read_but_crashes_nothing(name):
    rng, table = np.random.default_rng(0), TokenTable(PIECES)
    for _ in range(60):
        data = binary(name)
        data[rng.integers(len(data) // 2 if rng.integers(2) else 160, size=3)] = rng.integers(256, size=3)
        try:
            bias = bias_of(read_kenlm(data), table)
        except BadLanguageModel:
            continue
        gains(bias, [2, 5, 9, 4, 7, 2, 2])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (VERSION - 1, ord("4"), "format version 5"),
        (KIND, 1, "rest costs"),
        (KIND, 6, "kind 6"),
        (HAS_WORDS, 0, "without its words"),
        (ORDER, 9, "order 9.*orders 2 to 8"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(place, value, message):
    data = binary("probing")
    assert struct.unpack_from("<B", data, ORDER) == (4,)
    data[place] = value
    with pytest.raises(BadLanguageModel, match=message):
        read_kenlm(data)
