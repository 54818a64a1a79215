import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from recipes.lm.build import sentences
from recipes.lm.kneser_ney import END, FALLBACK, START, UNKNOWN, KneserNey
from speech.biasing import read_arpa

WORDS = [first + second for first in "abcdefgh" for second in "stuvwxyz"]


def corpus(seed, count=150):
    """Sentences by a random bigram chain with Zipf's law, so that some n-grams are seen once, some often."""
    rng = np.random.default_rng(seed)
    common = np.arange(1, len(WORDS) + 1) ** -1.5
    following = {word: common * rng.uniform(0.1, 1, len(WORDS)) ** 3 for word in [START, *WORDS]}
    lines = []
    for _ in range(count):
        word, line = START, []
        for _ in range(rng.integers(1, 9)):
            word = str(rng.choice(WORDS, p=following[word] / following[word].sum()))
            line.append(word)
        lines.append(line)
    return lines


@pytest.mark.parametrize("min_counts", [[1], [1, 1], [1, 1, 1], [1, 1, 2], [1, 3, 3]])
def test_every_history_shares_out_exactly_one(min_counts):
    lines = corpus(0)
    model = KneserNey(lines, len(min_counts), min_counts)
    words = [*{word for line in lines for word in line}, END, UNKNOWN]
    for length in range(len(min_counts)):
        for history in {tuple([START, *line][:length]) for line in lines} | {("as", "bt")[:length]}:
            assert sum(model.prob(history, word) for word in words) == pytest.approx(1.0, abs=1e-9)


def test_bigrams_are_what_chen_and_goodman_define():
    """Their formula, written out for one history at a time from the text alone."""
    lines = [[START, *line, END] for line in corpus(1)]
    pairs = Counter(pair for line in lines for pair in itertools.pairwise(line))
    befores = Counter(word for _, word in pairs)

    def discount(counts, count):
        n1, n2, n3, n4 = (sum(1 for c in counts if c == k) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        return {1: 1 - 2 * y * n2 / n1, 2: 2 - 3 * y * n3 / n2}.get(count, 3 - 4 * y * n4 / n3)

    def unigram(word):
        total, counts = sum(befores.values()), list(befores.values())
        free = sum(discount(counts, count) for count in counts) / total
        return (befores[word] - discount(counts, befores[word])) / total + free / (len(befores) + 1)

    model = KneserNey(corpus(1), 2, [1, 1])
    counts = list(pairs.values())
    for (first, second), count in pairs.items():
        total = sum(c for (a, _), c in pairs.items() if a == first)
        free = sum(discount(counts, c) for (a, _), c in pairs.items() if a == first) / total
        expected = (count - discount(counts, count)) / total + free * unigram(second)
        assert model.prob((first,), second) == pytest.approx(expected, rel=1e-9)


def test_the_arpa_file_says_the_same():
    model = KneserNey(corpus(2), 3, [1, 1, 2])
    lm = read_arpa(model.lines())
    numbers = {word: number for number, word in enumerate(lm.words)}
    for history in itertools.product(["as", "at", "bu"], repeat=2):
        for word in ("as", "bt", "cv", END, UNKNOWN):
            state, log = 0, 0.0
            for each in (*history, word):
                log, state = score(lm, state, numbers[each])
            assert log / math.log(10) == pytest.approx(math.log10(model.prob(history, word)), abs=2e-5)


def score(lm, state, word):
    log = 0.0
    while True:
        arcs = slice(lm.first_arc[state], lm.first_arc[state + 1])
        at = np.flatnonzero(lm.arc_word[arcs] == word)
        if len(at):
            return log + lm.arc_log_prob[arcs][at[0]], lm.arc_next[arcs][at[0]]
        log, state = log + lm.backoff[state], lm.shorter[state]


def test_too_little_text_is_refused_with_counts():
    with pytest.raises(ValueError, match="seen once, twice, three times: 3, 0, 0"):
        KneserNey([["a", "b"]], 2, [1, 1])


def test_pieces_that_are_all_frequent_take_the_fallback_discounts_and_sum_to_one() -> None:
    model = KneserNey([["a", "b"], ["b", "a"], ["a", "a"]] * 5, 2, [1, 1], has_fallback=True)
    assert model.discounts[1] == FALLBACK
    words = ["a", "b", "</s>", "<unk>"]
    assert sum(model.prob(("a",), word) for word in words) == pytest.approx(1.0)


def test_held_out_sentences_are_left_out_also_within_others(tmp_path: Path) -> None:
    texts, held_out = tmp_path / "texts.txt", tmp_path / "dev.tsv"
    texts.write_text("Rice is served.\nHe said: rice is served, Sir!\nGlue the sheet.\n")
    held_out.write_text("id\tvoice\t1.0\tRICE IS SERVED\n")
    assert sentences(texts, held_out) == [["glue", "the", "sheet"]]
