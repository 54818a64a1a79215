"""Strings of words drawn so that rare ones are heard often: what a recogniser has to learn is how words are spelled.

In sentences every second word is one of the hundred most frequent, which a model knows after an hour, while a word
that the text holds four times is missed half the time (recipes/README.md has the table). Here a word's chance grows
with its count in the text to the power of 0.7, and no further from 50 on. The order has no meaning: spelling is to be
learned from sound, and the language model brings the context.
"""

import random
from collections import Counter

from recipes.synthesis.texts import Sentence

CEILING, POWER = 50, 0.7
SHORTEST, LONGEST = 3, 9


def word_strings(sentences: list[Sentence], count: int, seed: str) -> list[Sentence]:
    """`count` strings of 3 to 9 words of `sentences`, which depend on `seed` only."""
    counts = Counter(word for sentence in sentences for word in sentence.transcript.split())
    words = sorted(counts)
    weights = [min(counts[word], CEILING) ** POWER for word in words]
    draw = random.Random(seed)
    drawn = (draw.choices(words, weights, k=draw.randint(SHORTEST, LONGEST)) for _ in range(count))
    return [Sentence(f"{' '.join(chosen).capitalize()}.", " ".join(chosen)) for chosen in drawn]
