"""Hotwords as an Aho-Corasick automaton over token ids, in flat arrays that any number of searches may share.

Semantics of icefall's context_graph.py and sherpa-onnx's context-graph.cc (asr.md 8.4), with one difference: where a
longer phrase raises the bonus of a prefix that another phrase shares, that other phrase's nodes are raised too. The
originals leave them as they were, so that what is paid back depends on the order of the phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech.biasing.trie import ROOT, Trie
from speech.errors import BadOption

MAX_PHRASE_TOKENS = 200
"""Longer phrases are sentences; the automaton's build takes one pass for each token of the longest."""
MAX_BOOST = 100.0
"""WeNet's own hotword file uses 100 (natural log), which forces a phrase; more only costs precision."""


@dataclass(frozen=True, slots=True, eq=False)
class ContextGraph:
    """The automaton; node 0 is the root, nodes are numbered level by level. Immutable, also for several threads.

    For node v, all arrays of one length but `first_child`:

      token int32         the token that enters v (root: -1)
      first_child int32   children are first_child[v] to first_child[v + 1] - 1, their tokens ascending; (nodes + 1,)
      fail int32          the longest proper suffix that is a node
      landing int32       where a hypothesis goes on from once it has arrived in v
      total float32       sum of the bonuses from the root to v: what is paid back when v leads nowhere
      gain float32        what arriving in v adds beyond total[v] - total[where it came from]

    Strict: whoever arrives in v stays there and gains the totals of all phrases that end there. Non-strict: where a
    phrase ends (the longest that does), its total is kept for good and the hypothesis goes on from the root.
    `max_gain` is the most that one step can add.
    """

    token: NDArray[np.int32]
    first_child: NDArray[np.int32]
    fail: NDArray[np.int32]
    landing: NDArray[np.int32]
    total: NDArray[np.float32]
    gain: NDArray[np.float32]
    max_gain: float
    num_phrases: int

    @property
    def num_nodes(self) -> int:
        """Nodes with the root."""
        return len(self.token)

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays."""
        arrays = (self.token, self.first_child, self.fail, self.landing, self.total, self.gain)
        return sum(array.nbytes for array in arrays)


def build_graph(phrases: Sequence[Sequence[int]], boosts: Sequence[float], *, strict: bool = False) -> ContextGraph:
    """Compile phrases (token ids; equal ones keep the higher boost) with a bonus per token each, in natural logs.

    A few milliseconds for 5,000 phrases. Raises BadOption for a phrase without tokens or with more than
    MAX_PHRASE_TOKENS, and for a boost that is not above 0 and up to MAX_BOOST.
    """
    _check(phrases, boosts)
    trie = Trie.of(phrases, np.asarray(boosts, np.float32))
    fail = _failures(trie)
    ends, matched = _matches(trie, fail)
    total = trie.total
    if strict:
        gain, landing = ends, np.arange(len(total), dtype=np.int32)
    else:
        # Every node knows a phrase that ends in it or in a suffix of it, or none (root).
        gain = np.where(matched == ROOT, np.float32(0), total[matched] - total)
        landing = np.where(matched == ROOT, np.arange(len(total)), ROOT).astype(np.int32)
    return ContextGraph(
        token=trie.token,
        first_child=trie.first_child(),
        fail=fail,
        landing=landing,
        total=total,
        gain=gain.astype(np.float32),
        max_gain=float((total + gain - _least_before(trie, fail)[trie.parent]).max()),
        num_phrases=len(phrases),
    )


def _check(phrases: Sequence[Sequence[int]], boosts: Sequence[float]) -> None:
    if len(phrases) != len(boosts):
        raise BadOption(f"{len(phrases)} hotwords with {len(boosts)} boosts; one for each is needed")
    for phrase, boost in zip(phrases, boosts, strict=True):
        if not 0 < len(phrase) <= MAX_PHRASE_TOKENS:
            raise BadOption(f"a hotword has {len(phrase)} tokens; allowed are 1 to {MAX_PHRASE_TOKENS}")
        if not 0.0 < boost <= MAX_BOOST:
            raise BadOption(f"a hotword's boost is {boost:g}; allowed is above 0, up to {MAX_BOOST:g}")


def _failures(trie: Trie) -> NDArray[np.int32]:
    """Return the longest proper suffix of each node: the parent's suffixes in turn, until one goes on by the token."""
    fail = np.zeros(len(trie.token), np.int32)
    for level in trie.levels[1:]:
        nodes = np.arange(level.start, level.stop, dtype=np.int32)
        suffix = fail[trie.parent[level]]
        while len(nodes):
            child = trie.children(suffix, trie.token[nodes])
            fail[nodes] = child
            open_nodes = (child == ROOT) & (suffix != ROOT)
            nodes, suffix = nodes[open_nodes], fail[suffix[open_nodes]]
    return fail


def _least_before(trie: Trie, fail: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the least total of the nodes from which each node's children are reached, itself or by failing."""
    least = trie.total.copy()
    for level in reversed(trie.levels):
        np.minimum.at(least, fail[level], least[level])
    return least


def _matches(trie: Trie, fail: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return, per node, the totals of all phrases that end in it, and the node of the longest (ROOT: none does)."""
    matched = np.zeros(len(fail), np.int32)
    matched[trie.leaves] = trie.leaves
    ends = np.where(matched != ROOT, trie.total, np.float32(0))
    for level in trie.levels:
        suffix = fail[level]
        ends[level] += ends[suffix]
        matched[level] = np.where(matched[level] == ROOT, matched[suffix], matched[level])
    return ends, matched
