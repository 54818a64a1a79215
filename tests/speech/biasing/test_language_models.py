from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from speech.biasing import Bias, build_graph, fit_lm, read_arpa
from speech.biasing import arpa as arpa_files
from speech.errors import BadLanguageModel, BadOption
from speech.tokens import TokenTable
from tests.speech.biasing.arpa_models import Oracle, random_arpa

LM = Path(__file__).parents[2] / "data/lm"
WORDS = ["a", "b", "ab", "abc", "cab", "cc"]
PIECES = ["<blank>", "<unk>", "▁A", "▁", "A", "B", "C", "▁AB", "AB", "▁C", "<sos/eos>"]


def gains(bias, tokens):
    """LM gain of each token, then of ending."""
    states, found = bias.start[np.newaxis], []
    for token in tokens:
        gain, states = bias.advance(states, np.array([token], np.int32))
        found.append(float(gain[0, 1]))
    return [*found, float(bias.finish(states)[0, 1])]


@pytest.mark.parametrize("seed", range(12))
def test_token_level_scores_are_the_definitions(seed):
    rng = np.random.default_rng(seed)
    order = int(rng.integers(1, 5))
    text = random_arpa(rng, list("天地人大小多少"), order, with_unknown=bool(seed % 2))
    table = TokenTable(["<blank>", "<unk>", *"天地人大小多少", "来", "<sos/eos>"])
    bias = Bias(lm=fit_lm(read_arpa(text.splitlines()), table), lm_weight=1.0)
    oracle = Oracle(text)
    for _ in range(20):
        tokens = rng.integers(2, 10, size=8).tolist()  # 来 is no word of the model
        expected = oracle.sentence([table.pieces[token] for token in tokens])
        assert gains(bias, tokens) == pytest.approx(expected, abs=1e-5)


def scored_at(pieces, words):
    """Index of the piece with which each word begun is scored: the next one's first, or the first that none of
    `words` begins like; len(pieces) where that is the end."""
    times, prefix, is_known = [], "", True
    for at, piece in enumerate(pieces):
        for letter in piece.lower():
            if letter == "▁":
                times += [at] if prefix and is_known else []
                prefix, is_known = "", True
                continue
            prefix += letter
            if is_known and not any(word.startswith(prefix) for word in words):
                times.append(at)
                is_known = False
    return times + ([len(pieces)] if prefix and is_known else [])


@pytest.mark.parametrize("seed", range(12))
def test_word_level_scores_are_the_definitions_and_come_at_word_ends_or_where_no_known_word_begins_so(seed):
    rng = np.random.default_rng(seed)
    text = random_arpa(rng, WORDS, int(rng.integers(1, 5)))
    table = TokenTable(PIECES)
    bias = Bias(lm=fit_lm(read_arpa(text.splitlines()), table), lm_weight=0.7, lm_bonus=1.25)
    oracle = Oracle(text)
    for _ in range(20):
        tokens = rng.integers(2, 10, size=12).tolist()
        words = table.text(tokens).lower().split()
        got = gains(bias, tokens)
        expected = [0.0] * 13
        times = scored_at([table.pieces[token] for token in tokens], WORDS)
        for at, log in zip(times, oracle.sentence(words, end=False), strict=True):
            expected[at] += 0.7 * log + 1.25
        expected[-1] += 0.7 * oracle.sentence(words)[-1]
        assert got == pytest.approx(expected, abs=1e-5)
        assert max(got[:-1]) <= bias.max_gain + 1e-6


def test_hotwords_and_language_model_are_told_apart():
    rng = np.random.default_rng(1)
    lm = fit_lm(read_arpa(random_arpa(rng, WORDS).splitlines()), TokenTable(PIECES))
    graph = build_graph([[2, 5]], [2.0])
    both, alone = Bias(graph, lm), Bias(lm=lm)
    tokens = np.array([2, 5, 9], np.int32)
    states = both.start[np.newaxis]
    hotwords = []
    for token in tokens:
        gain, states = both.advance(states, token[np.newaxis])
        hotwords.append(float(gain[0, 0]))
    assert hotwords == [2.0, 2.0, 0.0]
    assert gains(both, tokens) == gains(alone, tokens)


def test_letters_of_another_case_are_the_same_words():
    text = random_arpa(np.random.default_rng(0), ["A", "CAB"])
    assert fit_lm(read_arpa(text.splitlines()), TokenTable(PIECES)).coverage == 1.0
    lower = TokenTable([piece.lower() for piece in PIECES])
    assert fit_lm(read_arpa(text.splitlines()), lower).coverage == 1.0


@pytest.mark.parametrize("words", [["привет", "мир", "да"], ["天", "地"]])
def test_a_model_for_other_tokens_is_refused_with_both_shares(words):
    lm = read_arpa(random_arpa(np.random.default_rng(0), words).splitlines())
    with pytest.raises(BadLanguageModel, match=rf"knows 0% of them.* 0% of its words .*{words[0]}"):
        fit_lm(lm, TokenTable(PIECES))


GOOD = r"""\data\
ngram 1=3
ngram 2=1

\1-grams:
-1 <s> -0.5
-1 </s>
-1 a -0.2

\2-grams:
-0.3 <s> a

\end\
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("\\data\\", "data", "no line"), ("\\end\\", "", "cut short"), ("ngram 1=3", "ngram 1=4", "announces 4"),
     ("ngram 1=3", "ngram one=3", "line 2 .*ngram one"), ("-0.3 <s> a", "-0.3 <s> b", "line 11 .*'b', which is no"),
     ("-1 a -0.2", "x a -0.2", "line 8 .*'x'"), ("-1 a -0.2", "-1 a -0.2 7", "line 8"), ("-0.3", "0.3", "line 11"),
     ("ngram 1=3", "ngram 1=2", "line 8 .*one of 2 1-grams"), ("-1 a -0.2", "-1 <s> -0.2", "2 distinct"),
     ("\\2-grams:", "\\3-grams:", "line 10")],
)  # fmt: skip
def test_a_damaged_arpa_file_is_refused_by_line(old, new, message):
    read_arpa(GOOD.splitlines())
    with pytest.raises(BadLanguageModel, match=message):
        read_arpa(GOOD.replace(old, new).splitlines())


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_of_lines_give_the_same_model_and_the_same_lines_in_errors(block, monkeypatch):
    text = (LM / "words.arpa").read_text().splitlines()
    bad = next(number for number, line in enumerate(text) if line == "\\2-grams:") + 6
    damaged = [*text[:bad], text[bad].replace("-", "-1000", 1), *text[bad + 1 :]]
    whole = read_arpa(text)
    monkeypatch.setattr(arpa_files, "_BLOCK", block)
    blocks = read_arpa(text)
    for field in fields(whole):
        np.testing.assert_array_equal(getattr(blocks, field.name), getattr(whole, field.name))
    with pytest.raises(BadLanguageModel, match=rf"line {bad + 1} of the ARPA file has the logs"):
        read_arpa(damaged)


def test_ngrams_given_twice_or_without_their_beginning_are_refused():
    twice = GOOD.replace("ngram 2=1", "ngram 2=2").replace("-0.3 <s> a", "-0.3 <s> a\n-0.4 <s> a")
    with pytest.raises(BadLanguageModel, match="twice"):
        read_arpa(twice.splitlines())
    orphan = GOOD.replace("ngram 2=1", "ngram 2=1\nngram 3=1").replace("\\end\\", "\\3-grams:\n-1 a a a\n\n\\end\\")
    with pytest.raises(BadLanguageModel, match="1 3-grams"):
        read_arpa(orphan.splitlines())


@pytest.mark.parametrize(
    "wrong", [{"lm_weight": -1.0}, {"lm_weight": 11.0}, {"lm_bonus": 21.0}, {"lm_bonus": float("nan")}]
)
def test_impossible_weights_are_refused_by_name(wrong):
    with pytest.raises(BadOption, match=next(iter(wrong))):
        Bias(**wrong)
