"""Strings of words to learn spelling from."""

from collections import Counter

from recipes.synthesis.texts import Sentence
from recipes.synthesis.word_strings import LONGEST, SHORTEST, word_strings

SENTENCES = [Sentence(f"The {word}.", f"THE {word}") for word in ("THISTLE", "BREEZE") for _ in range(400)]
SENTENCES.append(Sentence("The Smith's zebra.", "THE SMITH'S ZEBRA"))


def test_rare_words_come_often_and_frequent_ones_no_more_often_than_words_of_the_ceiling():
    counts = Counter(word for string in word_strings(SENTENCES, 3000, "a") for word in string.transcript.split())
    assert set(counts) == {"THE", "THISTLE", "BREEZE", "SMITH'S", "ZEBRA"}
    assert 0.9 < counts["THE"] / counts["THISTLE"] < 1.1
    assert 50**0.7 * 0.8 < counts["THE"] / counts["ZEBRA"] < 50**0.7 * 1.25  # 801 times as often in the sentences


def test_what_is_spoken_is_what_is_written():
    for string in word_strings(SENTENCES, 50, "b"):
        assert string.spoken.upper() == f"{string.transcript}."
        assert SHORTEST <= len(string.transcript.split()) <= LONGEST


def test_strings_depend_on_the_seed_only():
    assert word_strings(SENTENCES, 20, "c") == word_strings(SENTENCES[::-1], 20, "c")
    assert word_strings(SENTENCES, 20, "c") != word_strings(SENTENCES, 20, "d")
