"""The attention decoder's second opinion on finished n-best lists: which hypothesis is best, or all in a new order.

With l and r the log-softmax of the two directions and n tokens in a hypothesis,
att = sum over its tokens and eos of (1 - reverse_weight) l(y) + reverse_weight r(y'),
best = att + ctc_weight * ctc + what hotwords and language model added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.description import RescoringSpec
from engines.encoder import FloatArray
from engines.ort import Array, OrtModel, OrtOptions
from engines.second_pass import SecondPass
from engines.tree_rescoring import TreeDecoder
from speech.biasing import Bias
from speech.errors import BadOption
from speech.search.nbest import Nbest

FLOOR = -10000.0
"""Score of rows without a hypothesis: finite in float16, and no NaN when it is multiplied by a weight of 0."""


MAX_TOKENS = 1536
"""Of all hypotheses of a segment that a W1 or W2 decoder reads: a long segment has fewer read, not a longer wait.

Trees have a limit of their own, of nodes."""
MIN_HYPOTHESES = 10
"""However long they are."""


@dataclass(frozen=True, slots=True, eq=False)
class RescoreItem:
    """A segment: `heard` float32, its n-best list, and weights (None: the model's own).

    `heard` is the segment's encoder output (frames, dim), or with `is_features` its features (n, bins): for a second
    pass that encodes them itself, see `Rescorer.hears_anew`.

    `second_pass` asks for the model's second pass in place of attention rescoring; what that proposes gets its share of
    hotwords and language model from `bias`.
    """

    heard: FloatArray
    nbest: Nbest
    ctc_weight: float | None = None
    reverse_weight: float | None = None
    second_pass: bool = False
    bias: Bias | None = None
    is_features: bool = False

    @property
    def num_read(self) -> int:
        """How many hypotheses a W1 or W2 decoder reads; it depends on this segment alone. The others cannot win."""
        return min(len(self.nbest.tokens), max(MIN_HYPOTHESES, MAX_TOKENS // self._width))

    @property
    def num_tokens(self) -> int:
        """What the decoder reads: hypotheses with sos and eos, padded to the longest."""
        return self.num_read * self._width

    @property
    def _width(self) -> int:
        return max(map(len, self.nbest.tokens), default=0) + 2


class Rescorer:
    """Owns the decoder's graphs and no state between calls, so that several threads may call `run`."""

    def __init__(
        self, spec: RescoringSpec, max_batch: int, options: OrtOptions, second_pass: SecondPass | None = None
    ) -> None:
        """Load the graph. Raises BadModel."""
        self.spec = spec
        self._second_pass = second_pass
        self._has_trees = spec.left_tree is not None
        self.batch_limit = max_batch if spec.is_batchable and not self._has_trees else 1
        self._rescored: Callable[[Sequence[RescoreItem]], list[Nbest]]
        if self._has_trees:
            self._rescored = partial(self._by_trees, TreeDecoder(spec, options))
        else:
            by = self._by_index if spec.kind == "best_index" else self._by_scores
            self._rescored = partial(by, OrtModel(spec.decoder, options))

    def check(self, ctc_weight: float | None, reverse_weight: float | None) -> None:
        """Raise BadOption when this model cannot rescore with such weights; ask before a stream begins."""
        if ctc_weight is not None and not 0.0 <= ctc_weight < np.inf:
            raise BadOption(f"rescoring ctc_weight is {ctc_weight}; allowed is 0 or more")
        if reverse_weight is not None and not 0.0 <= reverse_weight <= 1.0:
            raise BadOption(f"rescoring reverse_weight is {reverse_weight}; allowed is 0 to 1")
        if reverse_weight and not self.spec.is_bidirectional:
            raise BadOption(f"rescoring reverse_weight is {reverse_weight}; this model decodes left to right only")
        if self.spec.kind == "best_index" and not self._has_trees:
            self._check_baked(ctc_weight, reverse_weight)

    @property
    def has_second_pass(self) -> bool:
        """Whether items may ask for it."""
        return self._second_pass is not None

    @property
    def hears_anew(self) -> bool:
        """Whether the second pass wants features instead of encoder output: of streams, and of long recordings."""
        return self._second_pass is not None and self._second_pass.spec.encoder is not None

    def is_cut(self, frames: int) -> bool:
        """Whether the second pass hears so many encoder frames in pieces, and wants even a recording's features."""
        second = self._second_pass
        return second is not None and second.spec.encoder is not None and frames > second.spec.max_frames

    @property
    def keeps_bonus(self) -> bool:
        """Whether bonuses of hotwords and language models count; not where the graph gives CTC scores no weight."""
        return self._has_trees or self.spec.kind != "best_index" or self.spec.ctc_weight != 0.0

    def run(self, items: Sequence[RescoreItem]) -> list[Nbest]:
        """Return each item's hypotheses, best first.

        Scores stay the search's, also where the order is all new (trees), but for W3 become the combined ones; bonuses
        stay apart and count in full beside the attention score. Segments must have been closed (`Nbest.closed`). An
        item does not depend on its neighbours; one without frames or with nothing to choose comes back as it is.
        Raises BadOption for weights that `check` refuses, EngineFailed.
        """
        for item in items:
            if not item.second_pass:
                self.check(item.ctc_weight, item.reverse_weight)
        results = [item.nbest for item in items]
        heard = [index for index, item in enumerate(items) if len(item.heard)]
        for index in heard:
            if items[index].second_pass:
                results[index] = self._passed_again(items[index])
        open_items = [index for index in heard if not items[index].second_pass and len(items[index].nbest.tokens) > 1]
        for start in range(0, len(open_items), self.batch_limit):
            chosen = open_items[start : start + self.batch_limit]
            batch = [items[index] for index in chosen]
            for index, nbest in zip(chosen, self._rescored(batch), strict=True):
                results[index] = nbest
        return results

    def _passed_again(self, item: RescoreItem) -> Nbest:
        if self._second_pass is None:
            raise BadOption("this model has no second pass")
        return self._second_pass.run(item.heard, item.nbest, item.bias, item.ctc_weight, is_features=item.is_features)

    def _check_baked(self, ctc_weight: float | None, reverse_weight: float | None) -> None:
        """Weights inside the graph: the CTC weight can be changed by scaling the scores, if it is known and not 0."""
        own = self.spec.ctc_weight
        if ctc_weight is not None and ctc_weight != own and not own:
            known = "not known" if own is None else "0"
            raise BadOption(
                f"rescoring ctc_weight is {ctc_weight}; this model's is fixed in its graph and {known}: leave it out"
            )
        if reverse_weight is not None and reverse_weight != self.spec.reverse_weight:
            known = "not known" if self.spec.reverse_weight is None else f"{self.spec.reverse_weight:g}"
            raise BadOption(
                f"rescoring reverse_weight is {reverse_weight}; this model's is fixed in its graph ({known})"
            )

    def _by_trees(self, trees: TreeDecoder, items: Sequence[RescoreItem]) -> list[Nbest]:
        results = []
        for item in items:
            ctc_weight = self.spec.ctc_weight if item.ctc_weight is None else item.ctc_weight
            reverse = self.spec.reverse_weight if item.reverse_weight is None else item.reverse_weight
            fixed = np.maximum((ctc_weight or 0.0) * item.nbest.scores + item.nbest.bonuses, FLOOR)
            order = trees.order(item.heard, item.nbest.tokens, fixed, reverse or 0.0)
            results.append(item.nbest.reordered(order, item.nbest.scores[order]))
        return results

    def _by_index(self, model: OrtModel, items: Sequence[RescoreItem]) -> list[Nbest]:
        beam = self.spec.beam or max(item.num_read for item in items)
        feeds = _pack_encoder(items)
        feeds.update(_pack_hypotheses(items, beam, self.spec.sos, self.spec.eos))
        feeds["ctc_score"] = np.stack([self._ctc_scores(item, beam) for item in items])
        best = model.run(feeds, ["best_index"])["best_index"]
        return [_best_first(item.nbest, int(index)) for item, index in zip(items, best, strict=True)]

    def _ctc_scores(self, item: RescoreItem, beam: int) -> FloatArray:
        scores = np.full(beam, FLOOR, np.float32)
        count = min(beam, item.num_read)
        given = item.nbest.scores[:count]
        bonus = item.nbest.bonuses[:count]
        if self.spec.ctc_weight:
            # The graph multiplies what it is given by its own weight.
            weight = self.spec.ctc_weight if item.ctc_weight is None else item.ctc_weight
            given = given * (weight / self.spec.ctc_weight) + bonus / self.spec.ctc_weight
        else:
            given = given + bonus  # a weight that is not known: the bonus counts by it too, as in WeNet's server
        scores[: len(given)] = np.maximum(given, FLOOR)
        return scores

    def _by_scores(self, model: OrtModel, items: Sequence[RescoreItem]) -> list[Nbest]:
        return [self._all_scores(model, item) for item in items]

    def _all_scores(self, model: OrtModel, item: RescoreItem) -> Nbest:
        hypotheses = item.nbest.tokens
        padded = np.zeros((len(hypotheses), max(map(len, hypotheses)) + 1), np.int64)
        padded[:, 0] = self.spec.sos
        for row, tokens in zip(padded, hypotheses, strict=True):
            row[1 : len(tokens) + 1] = tokens
        lengths = np.array([len(tokens) + 1 for tokens in hypotheses])
        outputs = model.run({"hyps": padded, "hyps_lens": lengths, "encoder_out": item.heard[np.newaxis]})
        ctc_weight = self.spec.ctc_weight if item.ctc_weight is None else item.ctc_weight
        reverse = self.spec.reverse_weight if item.reverse_weight is None else item.reverse_weight
        scores = item.nbest.scores * (ctc_weight or 0.0)
        for index, tokens in enumerate(hypotheses):
            scores[index] += (1 - (reverse or 0.0)) * _attention_score(outputs["score"][index], tokens, self.spec.eos)
            if reverse:
                backwards = _attention_score(outputs["r_score"][index], tokens[::-1], self.spec.eos)
                scores[index] += reverse * backwards
        order = np.argsort(-(scores + item.nbest.bonuses), kind="stable")
        return item.nbest.reordered(order.tolist(), scores[order])


def _pack_encoder(items: Sequence[RescoreItem]) -> dict[str, Array]:
    lengths = np.array([len(item.heard) for item in items], np.int32)
    padded = np.zeros((len(items), lengths.max(), items[0].heard.shape[1]), np.float32)
    for row, item in zip(padded, items, strict=True):
        row[: len(item.heard)] = item.heard
    return {"encoder_out": padded, "encoder_out_lens": lengths}


def _pack_hypotheses(items: Sequence[RescoreItem], beam: int, sos: int, eos: int) -> dict[str, Array]:
    """Rows are [sos] + tokens + [eos], then eos; missing rows are empty hypotheses."""
    read = [item.nbest.tokens[: min(beam, item.num_read)] for item in items]
    longest = max((len(tokens) for hypotheses in read for tokens in hypotheses), default=0)
    forward = np.full((len(items), beam, longest + 2), eos, np.int64)
    forward[:, :, 0] = sos
    backward = forward.copy()
    lengths = np.ones((len(items), beam), np.int32)
    for index, hypotheses in enumerate(read):
        for row, tokens in enumerate(hypotheses):
            forward[index, row, 1 : len(tokens) + 1] = tokens
            backward[index, row, 1 : len(tokens) + 1] = tokens[::-1]
            lengths[index, row] = len(tokens) + 1
    return {"hyps_pad_sos_eos": forward, "r_hyps_pad_sos_eos": backward, "hyps_lens_sos": lengths}


def _best_first(nbest: Nbest, best: int) -> Nbest:
    # A row that only pads can win when every real score is below the floor; then the search's order stands.
    if not 0 < best < len(nbest.tokens):
        return nbest
    order = [best, *(index for index in range(len(nbest.tokens)) if index != best)]
    return nbest.reordered(order, nbest.scores[order])


def _attention_score(log_probs: npt.NDArray[Any], tokens: npt.NDArray[np.int32], eos: int) -> float:
    """Sum the log-probs (length, vocab) of the tokens and of eos after them."""
    targets = np.append(tokens, eos)
    return float(log_probs[np.arange(len(targets)), targets].sum(dtype=np.float64))
