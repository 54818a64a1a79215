import pytest

from speech.scoring import ErrorCounts, score_pair, score_pairs


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("a b c", "a b c", (0, 0, 0, 3)),
        ("a b c", "a x c", (1, 0, 0, 3)),
        ("a b c", "a c", (0, 1, 0, 3)),
        ("a b c", "a b b c", (0, 0, 1, 3)),
        ("a b c", "", (0, 3, 0, 3)),
        ("", "a b", (0, 0, 2, 0)),
        ("", "", (0, 0, 0, 0)),
    ],
)
def test_word_errors_are_counted_by_kind(reference, hypothesis, counts):
    assert score_pair(reference, hypothesis).counts == ErrorCounts(*counts)


def test_character_errors_ignore_white_space():
    assert score_pair("今天 天气", "今天天汽", "character").counts == ErrorCounts(1, 0, 0, 4)


def test_total_is_over_all_words_and_not_a_mean_of_rates():
    scores = score_pairs([("a", "x"), ("a b c d e f g h i", "a b c d e f g h i")])
    assert scores.total == ErrorCounts(1, 0, 0, 10)
    assert scores.total.rate == pytest.approx(0.1)
    assert [pair.counts.errors for pair in scores.pairs] == [1, 0]


def test_no_pairs_have_no_errors():
    assert score_pairs([]).total == ErrorCounts()


def test_rate_of_an_empty_reference_is_zero_or_infinite():
    assert ErrorCounts().rate == 0.0
    assert ErrorCounts(insertions=1).rate == float("inf")


def test_alignment_reads_in_columns():
    assert score_pair("a bb c", "a b c d").alignment.splitlines() == ["REF: a bb c *", "HYP: a  b c d", "        S   I"]
