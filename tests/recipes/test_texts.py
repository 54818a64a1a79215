"""Training transcripts: the sentences that may be spoken, spelled as scoring spells them."""

import random

import pytest

from recipes.synthesis.texts import held_out_transcripts, normalise, training_sentences
from recipes.u2pp.score import word_error_rate
from speech.normalising import normalise_text
from speech.scoring import score_pairs

SPEAKABLE = [
    "Well-known; isn't it?",
    "\u201cRock \u2018n\u2019 roll,\u201d he said \u2013 twice.",
    "the dogs' (grey) tails!",
]


@pytest.mark.parametrize("text", SPEAKABLE)
def test_a_transcript_is_what_scoring_makes_of_the_sentence(text):
    assert normalise(text) == normalise_text(text)


@pytest.mark.parametrize("text", ["Room 101", "salt & pepper", "na\u00efve", "50 %", "a_b", "...", "", "\u4eca\u5929"])
def test_what_is_said_otherwise_than_it_is_spelled_is_left_out(text):
    assert normalise(text) is None


def test_held_out_sentences_are_not_trained_on_however_they_are_written(tmp_path):
    texts, held_out = tmp_path / "texts.txt", tmp_path / "dev.tsv"
    texts.write_text("It\u2019s a fine, clear day.\nA second sentence.\na second sentence\nOne\n", encoding="utf-8")
    held_out.write_text("id\tvoice\tIT'S A FINE CLEAR DAY\n", encoding="utf-8")
    kept = training_sentences(texts, held_out_transcripts(held_out))
    assert [(sentence.spoken, sentence.transcript) for sentence in kept] == [
        ("A second sentence.", "A SECOND SENTENCE")
    ]


def test_training_and_scoring_count_the_same_errors():
    draw = random.Random(1)
    pairs = [tuple(" ".join(draw.choices("ABCD", k=draw.randint(1, 9))) for _ in range(2)) for _ in range(50)]
    assert word_error_rate(pairs) == pytest.approx(100 * score_pairs(pairs).total.rate)
