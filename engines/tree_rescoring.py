"""Attention rescoring over prefix trees: every distinct beginning of a list's hypotheses is read once.

A row of an attention decoder depends on what stands before it alone, so equal beginnings have equal rows. Of 64
hypotheses that differ in a few words, the decoder then reads a third of the tokens. The right-to-left decoder has a
small say, so it reads only hypotheses that can still win by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engines.description import RescoringSpec
from engines.encoder import FloatArray
from engines.ort import Array, OrtModel, OrtOptions
from speech.search.prefix_tree import PrefixTree, prefix_tree

MAX_NODES = 512
"""Distinct beginnings of a segment's hypotheses that are read: a long segment has fewer read, not a longer wait."""
MIN_HYPOTHESES = 10
"""However many beginnings they have."""
REVERSE_SPREAD = 12.0
"""Natural logs by which the right-to-left decoder may favour a hypothesis; who is further behind is not read by it.

With a weight of 0.3 the winners of 90 recordings were at most 0.8 behind before it spoke; this allows 3.6.
"""


class TreeDecoder:
    """Both directions' graphs; no state between calls, so that several threads may call `order`."""

    def __init__(self, spec: RescoringSpec, options: OrtOptions) -> None:
        """Load the graphs of a spec that names them. Raises BadModel."""
        assert spec.left_tree is not None, "the spec has no trees"
        self._left = OrtModel(spec.left_tree, options)
        self._right = None if spec.right_tree is None else OrtModel(spec.right_tree, options)
        self._sos, self._eos = spec.sos, spec.eos

    def order(
        self,
        encoder_out: FloatArray,
        hypotheses: Sequence[npt.NDArray[np.int32]],
        fixed: npt.NDArray[np.float64],
        reverse_weight: float,
    ) -> list[int]:
        """Return the hypotheses' indices, best first; those that are not read stay behind in their order.

        `encoder_out` (frames, dim) float32; `fixed` (hypotheses,) is what each has beside the attention scores. Raises
        EngineFailed.
        """
        tree = prefix_tree(hypotheses, self._sos, limit=MAX_NODES, at_least=MIN_HYPOTHESES)
        totals = fixed[: len(tree.leaves)] + (1 - reverse_weight) * self._scores(self._left, encoder_out, tree)
        rivals: npt.NDArray[np.int64] = np.arange(len(totals))
        if self._right is not None and reverse_weight:
            (rivals,) = np.nonzero(totals >= totals.max() - reverse_weight * REVERSE_SPREAD)
            tree = prefix_tree([hypotheses[index] for index in rivals.tolist()], self._sos, is_reversed=True)
            totals[rivals] += reverse_weight * self._scores(self._right, encoder_out, tree)
        is_rival = np.zeros(len(totals), bool)
        is_rival[rivals] = True
        read = np.lexsort((-totals, ~is_rival))
        return [*read.tolist(), *range(len(totals), len(hypotheses))]

    def _scores(self, model: OrtModel, encoder_out: FloatArray, tree: PrefixTree) -> npt.NDArray[np.float64]:
        """Sum the log-probs of each hypothesis' tokens and of eos after them, (hypotheses,)."""
        ancestors = tree.ancestors()
        feeds: dict[str, Array] = {
            "encoder_out": encoder_out,
            "tokens": tree.tokens,
            "depths": tree.depths,
            "ancestors": ancestors,
            "parents": np.concatenate([tree.parents[1:], tree.leaves]),
            "labels": np.concatenate([tree.tokens[1:], np.full(len(tree.leaves), self._eos)]),
        }
        edges = model.run(feeds, ["scores"])["scores"].astype(np.float64)
        inner = len(tree.tokens) - 1
        return ancestors[tree.leaves, 1:].astype(np.float64) @ edges[:inner] + edges[inner:]
