"""All hypotheses of a list as one tree of their distinct beginnings, for a decoder that reads every beginning once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speech.compiling import compile_ahead

_GROW = "int64(int32[::1], int64[::1], boolean, int64, int64, int64[::1], int64[::1], int64[::1], int64[::1])"


def _grow(tokens, starts, is_reversed, limit, at_least, labels, parents, depths, leaves):  # type: ignore[no-untyped-def]
    """Fill the arrays hypothesis by hypothesis until the next would need more than `limit` nodes; return their number.

    The first `at_least` are taken whatever they need. `leaves` (hypotheses,) is -1 where one was left out. Children are
    a linked list: a beginning has few continuations.
    """
    child = np.full(len(labels), -1, np.int64)
    sibling = np.full(len(labels), -1, np.int64)
    count = 1
    leaves[:] = -1
    for index in range(len(leaves)):
        first, last = starts[index], starts[index + 1]
        node, grown = 0, count
        for step in range(last - first):
            token = tokens[last - 1 - step] if is_reversed else tokens[first + step]
            found = child[node]
            while found >= 0 and labels[found] != token:
                found = sibling[found]
            if found < 0:
                if grown >= limit and index >= at_least:
                    break
                found = grown
                grown += 1
                labels[found], parents[found], depths[found] = token, node, depths[node] + 1
                child[found], sibling[found] = -1, child[node]
                child[node] = found
            node = found
        else:
            leaves[index] = node
            count = grown
            continue
        break
    return count


_grow_ahead = compile_ahead(_GROW, _grow)


@dataclass(frozen=True, slots=True, eq=False)
class PrefixTree:
    """Nodes are distinct beginnings of hypotheses, ancestors before descendants; node 0 is the empty one.

    `tokens` (nodes,) int64 a beginning's last token, `sos` for node 0; `depths` (nodes,) int64 its length; `parents`
    (nodes,) int64 the node one token shorter, 0 for node 0; `leaves` (hypotheses,) int64 the node that is all of one.
    """

    tokens: npt.NDArray[np.int64]
    depths: npt.NDArray[np.int64]
    parents: npt.NDArray[np.int64]
    leaves: npt.NDArray[np.int64]

    def ancestors(self) -> npt.NDArray[np.float32]:
        """Return (nodes, nodes): 1 where the column's beginning is one of the row's, itself included, else 0."""
        seen = np.eye(len(self.tokens), dtype=np.float32)
        for depth in range(1, int(self.depths.max()) + 1):
            (nodes,) = np.nonzero(self.depths == depth)
            seen[nodes] += seen[self.parents[nodes]]
        return seen


def prefix_tree(
    hypotheses: Sequence[npt.NDArray[np.int32]],
    sos: int,
    *,
    limit: int | None = None,
    at_least: int = 1,
    is_reversed: bool = False,
) -> PrefixTree:
    """Build the tree of the first hypotheses whose beginnings, the empty one included, are at most `limit`.

    The first `at_least` are taken whatever that needs; None is no limit. `is_reversed` reads all from their ends.
    """
    starts = np.zeros(len(hypotheses) + 1, np.int64)
    np.cumsum([len(tokens) for tokens in hypotheses], out=starts[1:])
    flat = np.concatenate(hypotheses).astype(np.int32, copy=False)
    size = len(flat) + 1
    labels, parents, depths = (np.zeros(size, np.int64) for _ in range(3))
    leaves = np.empty(len(hypotheses), np.int64)
    most = size if limit is None else limit
    count = _grow_ahead(flat, starts, is_reversed, most, at_least, labels, parents, depths, leaves)
    labels[0] = sos
    return PrefixTree(labels[:count], depths[:count], parents[:count], leaves[leaves >= 0])
