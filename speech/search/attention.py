"""Beam search with an attention decoder alone: it proposes what it hears, whatever another search found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

GIVEN_UP = 3.0
"""Natural logs by which the best finished hypothesis must lead those that go on for the search to end."""


class Reader(Protocol):
    """An attention decoder that remembers what it has read; a node is a beginning of a hypothesis."""

    def read(self, parents: NDArray[np.int64], tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], _Scores]:
        """Read a token after each parent node; return the new nodes (n,) and log-probs (n, vocabulary) of the next."""
        ...


_Scores = NDArray[np.float32]
_Live = tuple[float, int, tuple[int, ...]]
"""A hypothesis that goes on: its score, its node, its tokens."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Token ids without sentence start and end, and the sum of their log-probs and that of the end."""

    tokens: tuple[int, ...]
    score: float


def propose(
    reader: Reader, root: int, root_scores: _Scores, allowed: NDArray[np.bool_], *, eos: int, beam_size: int,
    max_tokens: int,
) -> list[Proposal]:  # fmt: skip
    """Return up to `beam_size` finished hypotheses, best first; fewer where the search ends before.

    `root` is the node of the sentence start and `root_scores` (vocabulary,) what may follow it; only `allowed`
    (vocabulary,) tokens are taken, and `eos`. Hypotheses longer than `max_tokens` are dropped: they loop.
    """
    live: list[_Live] = [(0.0, root, ())]
    scores = root_scores[np.newaxis]
    done: list[Proposal] = []
    for _ in range(max_tokens + 1):
        live, ended = _extended(live, scores, allowed, eos, beam_size)
        done = sorted(done + ended, key=lambda one: -one.score)[:beam_size]
        if not live or (done and done[0].score > live[0][0] + GIVEN_UP):
            break
        if len(done) == beam_size and done[-1].score >= live[0][0]:
            break
        parents = np.array([node for _, node, _ in live], np.int64)
        last = np.array([tokens[-1] for _, _, tokens in live], np.int64)
        nodes, scores = reader.read(parents, last)
        live = [(score, int(node), tokens) for (score, _, tokens), node in zip(live, nodes, strict=True)]
    return done


def _extended(
    live: list[_Live],
    scores: _Scores,
    allowed: NDArray[np.bool_],
    eos: int,
    beam_size: int,
) -> tuple[list[_Live], list[Proposal]]:
    """The best `beam_size` continuations, parted into those that go on and those that end."""
    totals = scores.astype(np.float64) + np.array([score for score, _, _ in live])[:, np.newaxis]
    ends = totals[:, eos].copy()
    totals[:, ~allowed] = -np.inf
    totals[:, eos] = ends
    flat = totals.ravel()
    best = np.argpartition(-flat, beam_size - 1)[:beam_size] if beam_size < len(flat) else np.arange(len(flat))
    best = best[np.argsort(-flat[best], kind="stable")]
    going_on: list[_Live] = []
    ended: list[Proposal] = []
    for place in best.tolist():
        row, token = divmod(place, totals.shape[1])
        _, node, tokens = live[row]
        if flat[place] == -np.inf:
            continue
        if token == eos:
            ended.append(Proposal(tokens, float(flat[place])))
        else:
            going_on.append((float(flat[place]), node, (*tokens, token)))
    return going_on, ended
