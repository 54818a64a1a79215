"""The attention decoder's own search finds what an exhaustive one finds, and always ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from speech.search.attention import propose

EOS, VOCAB = 0, 4
ALLOWED = np.array([False, True, True, False])


class Table:
    """Log-probs that depend on all tokens read before."""

    def __init__(self, seed: int, favours_end: float = 0.0) -> None:
        self.seed, self.favours_end = seed, favours_end
        self.read_tokens: list[tuple[int, ...]] = [()]

    def after(self, tokens: tuple[int, ...]) -> np.ndarray:
        logits = np.random.default_rng([self.seed, len(tokens), *tokens]).standard_normal(VOCAB) * 2
        logits[EOS] += self.favours_end
        return (logits - np.logaddexp.reduce(logits)).astype(np.float32)

    def read(self, parents: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        begin = len(self.read_tokens)
        read = [(*self.read_tokens[parent], int(token)) for parent, token in zip(parents, tokens, strict=True)]
        self.read_tokens += read
        return np.arange(begin, begin + len(read)), np.stack([self.after(each) for each in read])


def run(table: Table, beam_size: int, max_tokens: int = 4):  # type: ignore[no-untyped-def]
    return propose(table, 0, table.after(()), ALLOWED, eos=EOS, beam_size=beam_size, max_tokens=max_tokens)


@pytest.mark.parametrize("seed", range(20))
def test_a_wide_beam_is_exhaustive(seed: int) -> None:
    table = Table(seed)
    texts = [text for count in range(5) for text in itertools.product((1, 2), repeat=count)]
    scores = {}
    for text in texts:
        steps = [table.after(text[:place])[token] for place, token in enumerate([*text, EOS])]
        scores[text] = float(np.sum(steps, dtype=np.float64))
    best = max(scores, key=lambda text: scores[text])
    found = run(table, 64)
    assert found[0].tokens == best
    assert [one.score for one in found] == pytest.approx([scores[one.tokens] for one in found], abs=1e-5)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_only_allowed_tokens_are_taken() -> None:
    assert {token for one in run(Table(3), 8) for token in one.tokens} <= {1, 2}


def test_a_decoder_that_never_ends_is_left_at_the_limit() -> None:
    table = Table(1, favours_end=-1e9)
    run(table, 3, max_tokens=6)
    assert max(map(len, table.read_tokens)) <= 7


def test_it_reads_no_more_than_its_beam_at_once() -> None:
    table = Table(2)
    run(table, 2, max_tokens=4)
    assert all(sum(len(read) == count for read in table.read_tokens) <= 2 for count in range(1, 6))
