"""Low-order density ratio: a bigram over tokens whose probabilities are subtracted while a language model's are added.

It stands for the language model that a transducer learned from its transcripts (Zheng et al., "An empirical study of
language model integration for transducer based speech recognition", 2022). As in icefall and sherpa-onnx, which read
the bigram as an automaton: a token may take the way over the back-off even where its bigram is listed, if that is
likelier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.biasing.hashed import HashedLm
from speech.biasing.ngram import NgramLm
from speech.errors import BadLanguageModel
from speech.tokens import TokenTable

MAX_ORDER = 2
MIN_COVERAGE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Lodr:
    """`lm` over tokens; `token_word` int32 (tokens,) is the word that each token is, -1: none, which adds nothing."""

    lm: NgramLm
    token_word: NDArray[np.int32]

    @property
    def lowest(self) -> float:
        """The lowest natural log-probability that a token can have."""
        words = self.token_word[self.token_word >= 0]
        return float(self.lm.unigram_log_probs[words].min(initial=0.0) + min(self.lm.backoff.min(initial=0.0), 0.0))


def fit_lodr(lm: NgramLm | HashedLm, tokens: TokenTable) -> Lodr:
    """Raise BadLanguageModel for a model that is no bigram over these tokens, or cannot be listed."""
    if isinstance(lm, HashedLm):
        raise BadLanguageModel("LODR takes an ARPA file or a KenLM trie, no probing tables")
    if lm.order > MAX_ORDER:
        raise BadLanguageModel(f"LODR takes a 1- or 2-gram; this is a {lm.order}-gram")
    numbers = {word: number for number, word in enumerate(lm.words)}
    speaking = [token for token, spelling in enumerate(tokens.spellings) if spelling]
    token_word = np.full(len(tokens), -1, np.int32)
    token_word[speaking] = [numbers.get(tokens.pieces[token], -1) for token in speaking]
    coverage = float((token_word[speaking] >= 0).mean()) if speaking else 0.0
    if coverage < MIN_COVERAGE:
        raise BadLanguageModel(
            f"LODR takes a model over the tokens: this one knows {coverage:.0%} of them, {MIN_COVERAGE:.0%} is needed"
        )
    return Lodr(lm, token_word)
