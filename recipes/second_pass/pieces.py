"""Which of Moonshine's pieces the second pass keeps: those that spell the words of the training text, in capitals.

Pieces keep their order, which is the order in which they were learned, characters last, so that
speech.biasing.spelling cuts words from the table alone as Moonshine's own tokenizer does.
"""

import itertools
import json
import string
from collections.abc import Iterable
from pathlib import Path

from recipes.second_pass.decoder import NUM_SPECIALS
from speech.tokens import SPACE_MARK

SPECIALS = ("<unk>", "<s>", "</s>")
_LETTERS = frozenset(string.ascii_lowercase + "'" + SPACE_MARK)


def choose(tokenizer: Path, words: Iterable[str]) -> tuple[list[str], list[int]]:
    """Pieces with the specials in front, and Moonshine's ids of them; `tokenizer` is Moonshine's tokenizer.json."""
    vocabulary = json.loads(tokenizer.read_text())["model"]["vocab"]
    ranks = {piece: rank for piece, rank in vocabulary.items() if _LETTERS.issuperset(piece)}
    used = {letter for letter in _LETTERS if letter in vocabulary}
    for word in set(words):
        used |= merged_on_the_way(word.lower(), ranks)
    kept = sorted((ranks[piece], piece) for piece in used)
    return [*SPECIALS, *(piece.upper() for _, piece in kept)], [*range(NUM_SPECIALS), *(rank for rank, _ in kept)]


def merged_on_the_way(word: str, ranks: dict[str, int]) -> set[str]:
    """All pieces that merging a word makes: a table without them would merge otherwise."""
    parts = [SPACE_MARK, *word]
    made: set[str] = set()
    while True:
        pairs = [left + right for left, right in itertools.pairwise(parts)]
        known = [(ranks[pair], at) for at, pair in enumerate(pairs) if pair in ranks]
        if not known:
            return made
        _, at = min(known)
        parts[at : at + 2] = [pairs[at]]
        made.add(pairs[at])
