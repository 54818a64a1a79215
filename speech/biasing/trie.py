"""Sequences of numbers as a tree of their prefixes in flat arrays, built level by level with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROOT = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trie:
    """One node per distinct prefix; node 0 is the root, nodes are numbered level by level, then by (parent, token).

    `token` and `total` (the sum of bonuses from the root) are those of a node, `leaves` the node of each sequence,
    `levels` the nodes of each depth from 1 on. `keys` (parent << 32 | token) of the nodes from 1 on ascend.
    """

    parent: NDArray[np.int32]
    token: NDArray[np.int32]
    total: NDArray[np.float32]
    leaves: NDArray[np.int32]
    keys: NDArray[np.int64]
    levels: list[slice]

    @classmethod
    def of(cls, phrases: Sequence[Sequence[int]], boosts: NDArray[np.float32]) -> Trie:
        """Build from sequences of numbers below 2**31; a step has its sequence's boost, a shared one the highest."""
        lengths = np.array([len(phrase) for phrase in phrases], np.int64)
        starts = np.cumsum(lengths) - lengths
        flat = np.fromiter((token for phrase in phrases for token in phrase), np.int64, int(lengths.sum()))
        node = np.zeros(len(phrases), np.int64)  # where each phrase has got to
        keys, totals = [np.zeros(0, np.int64)], [np.zeros(1, np.float32)]
        levels: list[slice] = []
        num_nodes = 1
        for depth in range(int(lengths.max(initial=0))):
            live = np.flatnonzero(lengths > depth)
            found, inverse = np.unique(node[live] << 32 | flat[starts[live] + depth], return_inverse=True)
            bonus = np.zeros(len(found), np.float32)
            np.maximum.at(bonus, inverse, boosts[live])
            before = totals[-1]
            first_before = num_nodes - len(before)
            node[live] = num_nodes + inverse
            levels.append(slice(num_nodes, num_nodes + len(found)))
            num_nodes += len(found)
            keys.append(found)
            totals.append(before[(found >> 32) - first_before] + bonus)
        all_keys = np.concatenate(keys)
        return cls(
            parent=np.concatenate([[0], all_keys >> 32]).astype(np.int32),
            token=np.concatenate([[-1], all_keys & 0xFFFFFFFF]).astype(np.int32),
            total=np.concatenate(totals),
            leaves=node.astype(np.int32),
            keys=all_keys,
            levels=levels,
        )

    def first_child(self) -> NDArray[np.int32]:
        """Return where each node's children begin, and one more entry."""
        nodes = np.arange(len(self.token) + 1)
        return (np.searchsorted(self.parent[1:], nodes) + 1).astype(np.int32)

    def children(self, nodes: NDArray[np.int32], tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the child of each node by each token, ROOT where there is none."""
        wanted = nodes.astype(np.int64) << 32 | tokens
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, at + 1, ROOT).astype(np.int32)
