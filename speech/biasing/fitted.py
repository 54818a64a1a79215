"""A language model fitted to a token table: which of its words a token is, or how pieces write its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from speech.biasing.hashed import HashedLm
from speech.biasing.ngram import END, START, UNKNOWN, NgramLm
from speech.biasing.trie import Trie
from speech.errors import BadLanguageModel
from speech.tokens import SPACE_MARK, TokenTable

Level = Literal["token", "word"]

MIN_COVERAGE = 0.5
"""Below this share the model is one for other tokens: nearly everything would be an unknown word."""
_FOLDS: tuple[Callable[[str], str], ...] = (str, str.upper, str.lower)


def _no_ints() -> NDArray[np.int32]:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class FittedLm:
    """`lm` as searches over one token table use it. Immutable and shared.

    Token level: `token_word` int32 (tokens,) is the LM word that each token is, -1 for those that write nothing; tokens
    that are no word of it are <unk>. Word level: token t writes chars[first_char[t] : first_char[t + 1]], UTF-8 bytes
    with 0 for a word boundary; `word_char`, `word_first_child`, `word_of` are a trie of the words' bytes (label and
    first child by node, word number or -1). `coverage`: the share of tokens (token level) or words (word level) that
    the other side knows.
    """

    lm: NgramLm | HashedLm
    level: Level
    coverage: float
    token_word: NDArray[np.int32] = field(default_factory=_no_ints)
    first_char: NDArray[np.int32] = field(default_factory=_no_ints)
    chars: NDArray[np.int32] = field(default_factory=_no_ints)
    word_char: NDArray[np.int32] = field(default_factory=_no_ints)
    word_first_child: NDArray[np.int32] = field(default_factory=_no_ints)
    word_of: NDArray[np.int32] = field(default_factory=_no_ints)


def fit_lm(lm: NgramLm | HashedLm, tokens: TokenTable) -> FittedLm:
    """Fit `lm` to `tokens` at token level where its words are the tokens, else at word level.

    Letters may differ in case between the two. Raises BadLanguageModel where neither fits, with both shares.
    """
    by_token = _fit_tokens(lm, tokens)
    if by_token.coverage >= MIN_COVERAGE:
        return by_token
    spellings = [_bytes(spelling) for spelling in tokens.spellings]
    word_coverage = 0.0
    if any(0 in spelling for spelling in spellings):
        by_word = max((_fit_words(lm, spellings, fold) for fold in _FOLDS), key=lambda fitted: fitted.coverage)
        word_coverage = by_word.coverage
        if word_coverage >= MIN_COVERAGE:
            return by_word
    examples = [word for word in lm.words if word not in (START, END, UNKNOWN)][:3]
    raise BadLanguageModel(
        f"the language model is one for other tokens: it knows {by_token.coverage:.0%} of them, and they can write "
        f"{word_coverage:.0%} of its words (such as {', '.join(examples)}); at least {MIN_COVERAGE:.0%} is needed"
    )


def _fit_tokens(lm: NgramLm | HashedLm, tokens: TokenTable) -> FittedLm:
    numbers = {word: number for number, word in enumerate(lm.words)}
    token_word = np.full(len(tokens), -1, np.int32)
    known = speaking = 0
    for token, (piece, spelling) in enumerate(zip(tokens.pieces, tokens.spellings, strict=True)):
        if spelling:
            token_word[token] = numbers.get(piece, lm.unknown_word)
            speaking += 1
            known += piece in numbers
    return FittedLm(lm, "token", known / max(speaking, 1), token_word=token_word)


def _fit_words(lm: NgramLm | HashedLm, spellings: list[list[int]], fold: Callable[[str], str]) -> FittedLm:
    writable = {char for spelling in spellings for char in spelling}
    log_probs = lm.unigram_log_probs
    best: dict[bytes, int] = {}  # words that differ in case only: the likelier one
    num_writable = 0
    for number, word in enumerate(lm.words):
        spelled = fold(word).encode()
        if word in (START, END, UNKNOWN) or not writable.issuperset(spelled):
            continue
        num_writable += 1
        if spelled not in best or log_probs[number] > log_probs[best[spelled]]:
            best[spelled] = number
    lengths = [len(spelling) for spelling in spellings]
    trie = Trie.of(list(best), np.zeros(len(best), np.float32))
    word_of = np.full(len(trie.token), -1, np.int32)
    word_of[trie.leaves] = list(best.values())
    return FittedLm(
        lm,
        "word",
        num_writable / max(len(lm.words) - 3, 1),
        first_char=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        chars=np.array([char for spelling in spellings for char in spelling], np.int32),
        word_char=trie.token,
        word_first_child=trie.first_child(),
        word_of=word_of,
    )


def _bytes(spelling: str | bytes) -> list[int]:
    """Return what a token writes as UTF-8 bytes, spaces as 0."""
    data = spelling if isinstance(spelling, bytes) else spelling.replace(SPACE_MARK, " ").encode()
    return [0 if byte == 0x20 else byte for byte in data]
