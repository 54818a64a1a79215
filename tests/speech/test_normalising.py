import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.normalising import normalise_text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Hello,  world!", "HELLO WORLD"),
        ("don't  'quote' it", "DON'T QUOTE IT"),
        ("it\u2019s  rock\u2013and\u2013roll", "IT'S ROCK AND ROLL"),
        ("\u2018don\u2018t\u2019 say \u201cdon\u2019t\u201d", "DON'T SAY DON'T"),
        ("the dogs' tails, rock 'n' roll", "THE DOGS TAILS ROCK N ROLL"),
        ("snake_case", "SNAKE CASE"),
        ("  \t\n", ""),
        ("3.5 naïve", "3 5 NAÏVE"),
    ],
)
def test_english_is_normalised_in_one_way(text, normal):
    assert normalise_text(text) == normal
    assert normalise_text(normal) == normal


@given(st.text(max_size=40))
def test_a_normal_text_stays_as_it_is(text):
    normal = normalise_text(text)
    assert normalise_text(normal) == normal
