"""A phrase as a model would write it: its text in the model's tokens, as the model's own tokenizer would cut it.

The tokenizer itself is not at hand, only its pieces by id. SentencePiece lists the pieces of a unigram model by falling
probability, those of a BPE model in the order of their merges, characters last; both cuts are made again from that.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final, Literal

from speech.tokens import SPACE_MARK, TokenTable, is_unspaced

Unit = Literal["auto", "character", "bpe"]
"""How phrases are cut: auto is characters for Chinese and Japanese and pieces for the rest, as sherpa's cjkchar+bpe;
character and bpe cut everything one way."""
UNITS: Final[tuple[Unit, ...]] = ("auto", "character", "bpe")

_LONGEST_PIECE = 32
# Zipf's law with the ranks of frequent pieces held back. For the embedded model's unigram table, the cut is then the
# tokenizer's own for 99.8 % of the words of its test sentences (fewest pieces: 92 %).
_RANK_OFFSET = 20
_FOLDS: tuple[Callable[[str], str], ...] = (str, str.upper, str.lower)


class Speller:
    """Spells phrases with one token table. Immutable: any number of threads may share one."""

    def __init__(self, tokens: TokenTable) -> None:
        """Read the pieces that write something."""
        written = {piece: token for token, piece in enumerate(tokens.pieces) if tokens.spellings[token]}
        self._ids = written
        self._is_byte_level = tokens.is_byte_level
        self._has_marks = any(SPACE_MARK in piece for piece in written)
        self._bytes = {tokens.spellings[token]: token for token in written.values()} if tokens.has_byte_pieces else {}
        self._cut = _cutter(written)

    def spell(self, phrase: str, unit: Unit = "auto") -> list[int] | None:
        """Return the phrase's tokens, None where the model has none for some character of it.

        Letters are taken as written, or else all in upper or all in lower case, whichever the model can write.
        """
        text = " ".join(unicodedata.normalize("NFKC", phrase).split())
        for fold in _FOLDS:
            ids = self._spell(fold(text), unit)
            if ids is not None:
                return ids
        return None

    def _spell(self, text: str, unit: Unit) -> list[int] | None:
        ids: list[int] = []
        for word in self._words(text, unit):
            found = self._characters(word) if unit == "character" else self._pieces(word)
            if found is None:
                return None
            ids += found
        return ids

    def _words(self, text: str, unit: Unit) -> Iterator[str]:
        """Yield what is cut on its own, word marks included: words, and unless unit is bpe, unspaced characters."""
        for word in text.split():
            for part in [word] if unit == "bpe" else _split_unspaced(word):
                # Byte-level tokenizers see a space before each Chinese character, others do not.
                is_marked = self._has_marks and (self._is_byte_level or not is_unspaced(part[0]))
                yield SPACE_MARK * is_marked + (TokenTable.to_byte_level(part) if self._is_byte_level else part)

    def _pieces(self, word: str) -> list[int] | None:
        pieces = self._cut(word)
        if pieces is not None:
            return [self._ids[piece] for piece in pieces]
        return self._characters(word) if self._bytes else None

    def _characters(self, word: str) -> list[int] | None:
        """Cut into characters, a mark and the first letter together where that is a piece; bytes for the others."""
        ids: list[int] = []
        head = word[:2] if word.startswith(SPACE_MARK) and word[:2] in self._ids else word[:1]
        for char in [head, *word[len(head) :]]:
            if char in self._ids:
                ids.append(self._ids[char])
                continue
            spelled = [self._bytes.get(bytes([byte])) for byte in char.replace(SPACE_MARK, " ").encode()]
            if not spelled or None in spelled:
                return None
            ids += [token for token in spelled if token is not None]
        return ids


def _split_unspaced(word: str) -> Iterator[str]:
    run = ""
    for char in word:
        if is_unspaced(char):
            if run:
                yield run
            yield char
            run = ""
        else:
            run += char
    if run:
        yield run


def _cutter(ids: dict[str, int]) -> Callable[[str], list[str] | None]:
    """Return the cut that fits how the pieces are ordered; see the module's docstring."""
    pieces = sorted(ids, key=lambda piece: ids[piece])
    singles = [rank for rank, piece in enumerate(pieces) if len(piece) == 1]
    pairs = [rank for rank, piece in enumerate(pieces) if len(piece) > 1]
    if pairs and singles and min(singles) > max(pairs):
        return lambda word: _merge(word, ids)
    if pieces == sorted(pieces):  # units.txt made with `sort`: the order says nothing, so the fewest pieces
        costs = {piece: 1.0 - 1e-4 * len(piece) ** 2 for piece in pieces}
    else:
        costs = {piece: math.log(rank + _RANK_OFFSET) for rank, piece in enumerate(pieces)}
    return lambda word: _cheapest(word, costs)


def _merge(word: str, ids: dict[str, int]) -> list[str] | None:
    """Join the two neighbours whose piece was learnt first, until no neighbours are a piece (byte-pair encoding)."""
    parts = list(word)
    while True:
        ranks = [ids.get(left + right, math.inf) for left, right in pairwise(parts)]
        best = min(ranks, default=math.inf)
        if best == math.inf:
            break
        at = ranks.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts if all(part in ids for part in parts) else None


def _cheapest(word: str, costs: dict[str, float]) -> list[str] | None:
    """Return the cut whose pieces cost least, by dynamic programming over the ends of pieces."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(word) + 1):
        ways = [
            (best[begin][0] + costs[word[begin:end]], begin)
            for begin in range(max(0, end - _LONGEST_PIECE), end)
            if word[begin:end] in costs
        ]
        best.append(min(ways, default=(math.inf, 0)))
    if best[-1][0] == math.inf:
        return None
    cuts: Sequence[int] = _walk_back(best)
    return [word[begin:end] for begin, end in pairwise(cuts)]


def _walk_back(best: list[tuple[float, int]]) -> list[int]:
    cuts = [len(best) - 1]
    while cuts[-1]:
        cuts.append(best[cuts[-1]][1])
    return cuts[::-1]
