"""The second pass over a finished segment: an attention decoder with units of its own proposes, and all is weighed.

The first pass (CTC, frame by frame) gives few hypotheses and their language model's say; the decoder reads these, adds
what it hears itself by a beam search of its own, and the best by attention, CTC, hotwords and language model together
wins (two-pass recognition: Sainath et al. 2019, https://arxiv.org/abs/1908.10992). Proposals are spelled in the first
pass's units and aligned to its CTC frames, so that they have times and confidences like any other hypothesis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engines.description import SecondPassSpec
from engines.encoder import FloatArray
from engines.offline import OfflineEncoder
from engines.ort import Array, OrtModel, OrtOptions
from engines.segment_encoder import SegmentEncoder
from speech.biasing import Bias
from speech.biasing.spelling import Speller
from speech.search.alignment import align, best_path
from speech.search.attention import Proposal, propose
from speech.search.nbest import Bonus, Nbest
from speech.search.pauses import cut_in_pauses
from speech.search.prefix_tree import PrefixTree, prefix_tree
from speech.tokens import SPACE_MARK, TokenTable

TOKENS_PER_SECOND = 10
"""Of the second pass's units: nobody speaks faster, and a decoder that is lost goes on for ever."""
LONGER = 1.3
"""Times the longest text that was read, and a few more: CTC seldom misses more, and where a piece ends within a
sentence the decoder would go on by itself."""
_MIN_TOKENS = 4
SURE = 2.0
"""Natural logs by which the decoder prefers a step of the best text that it has read: so far nothing else is tried."""


class _Reading:
    """One segment's reading: what the decoder has read so far, by node. Implements `speech.search.attention.Reader`."""

    def __init__(self, decoder: OrtModel, keys: Array, values: Array) -> None:
        self._decoder = decoder
        self._memory = {"memory_keys": keys, "memory_values": values}
        layers, heads, _, size = keys.shape
        self._keys = self._values = np.zeros((layers, heads, 0, size), np.float32)
        self._seen = np.zeros((0, 0), np.float32)
        self._depths = np.zeros(0, np.int64)

    def read(
        self, parents: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Read tokens after nodes read before."""
        return self._read(tokens, self._depths[parents] + 1, self._seen[parents], np.eye(len(tokens), dtype=np.float32))

    def read_tree(self, tree: PrefixTree) -> FloatArray:
        """Read a whole tree at once, before anything else: its nodes are then those here."""
        nothing = np.zeros((len(tree.tokens), 0), np.float32)
        return self._read(tree.tokens, tree.depths, nothing, tree.ancestors())[1]

    def _read(
        self, tokens: npt.NDArray[np.int64], depths: npt.NDArray[np.int64], ancestors: FloatArray, inner: FloatArray
    ) -> tuple[npt.NDArray[np.int64], FloatArray]:
        seen = np.concatenate([ancestors, inner], 1)
        feeds = {"tokens": tokens, "depths": depths, "seen": seen}
        past = {"past_keys": self._keys, "past_values": self._values}
        out = self._decoder.run({**self._memory, **feeds, **past}, ["log_probs", "keys", "values"])
        known = len(self._depths)
        self._keys = np.concatenate([self._keys, out["keys"]], 2)
        self._values = np.concatenate([self._values, out["values"]], 2)
        self._depths = np.concatenate([self._depths, depths])
        self._seen = np.concatenate([np.pad(self._seen, ((0, 0), (0, len(tokens)))), seen])
        return np.arange(known, known + len(tokens)), out["log_probs"]


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """A text that was read: the first pass's tokens, the sum of log-probs and that of the end.

    `is_sure`: at every step the decoder likes this text best. `doubt` is the node from which on it is less than sure.
    """

    tokens: npt.NDArray[np.int32]
    score: float
    is_sure: bool
    doubt: int


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """What came of reading the first pass's texts; `log_probs` (nodes, vocabulary) of what may follow each node."""

    texts: dict[str, _Text]
    tree: PrefixTree
    log_probs: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A text in the first pass's tokens: when, how surely, and its scores, natural logs; `total` is all together."""

    tokens: npt.NDArray[np.int32]
    times: npt.NDArray[np.int32]
    confidences: npt.NDArray[np.float32]
    total: float
    ctc: float
    hotwords: float
    lm: float


class SecondPass:
    """Owns the graphs and no state between calls, so that several threads may call `run`."""

    def __init__(
        self, spec: SecondPassSpec, tokens: TokenTable, units: TokenTable, options: OrtOptions,
        encoder: OfflineEncoder | None = None,
    ) -> None:  # fmt: skip
        """`tokens` are the first pass's, `units` the second's; `encoder` that of the spec, if any. Raises BadModel."""
        self.spec = spec
        self._encoder: SegmentEncoder | None = None
        if spec.encoder is not None:
            assert encoder is not None, "a spec with an encoder comes with one"
            self._encoder = SegmentEncoder(encoder, spec.encoder, spec.max_frames)
        self._memory = OrtModel(spec.memory, options)
        self._decoder = OrtModel(spec.decoder, options)
        self._tokens, self._units = tokens, units
        self._first_speller, self._speller = Speller(tokens), Speller(units)
        self._allowed: npt.NDArray[np.bool_] = np.array([bool(spelling) for spelling in units.spellings])
        starts = [piece.startswith(SPACE_MARK) for piece in tokens.pieces]
        self._may_begin = starts if any(starts) else [True] * len(starts)

    def run(
        self, heard: FloatArray, nbest: Nbest, bias: Bias | None, ctc_weight: float | None, *, is_features: bool = False
    ) -> Nbest:
        """Return the segment's hypotheses in the second pass's order, then those that it did not read.

        `heard` is encoder output (frames, dim) float32, or features (n, bins), to be encoded piece by piece.
        Scores are CTC's over all alignments. A list whose best hypothesis is empty comes back as it is: the second pass
        would write something into any silence. Raises EngineFailed.
        """
        if not len(nbest.tokens[0]):
            return nbest
        weight = self.spec.ctc_weight if ctc_weight is None else ctc_weight
        frames = self._segment_encoder.num_frames(len(heard)) if is_features else len(heard)
        if not frames:
            return nbest
        may_begin = [self._may_begin[token] for token in nbest.tokens[0].tolist()]
        loud = self._segment_encoder.loudness(heard) if is_features and frames > self.spec.max_frames else None
        pieces = cut_in_pauses(nbest.times[0].tolist(), may_begin, frames, self.spec.max_frames, loud)
        encoder_out = self._segment_encoder.run(heard, pieces) if is_features else heard
        if len(pieces) == 1:
            found = self._candidates(encoder_out, list(nbest.tokens[: self.spec.num_read]), bias, weight)
        else:
            best = [self._best_of_piece(encoder_out, nbest, piece, bias, weight) for piece in pieces]
            found = [self._joined(best, bias)]
        return _listed(nbest, found, bias)

    @property
    def _segment_encoder(self) -> SegmentEncoder:
        assert self._encoder is not None, "features are for second passes with an encoder"
        return self._encoder

    def _best_of_piece(
        self, encoder_out: FloatArray, nbest: Nbest, piece: tuple[int, int], bias: Bias | None, ctc_weight: float
    ) -> _Candidate:
        """Weigh what the hypotheses say between two pauses; its times are those of the segment."""
        begin, end = piece
        parts: dict[bytes, npt.NDArray[np.int32]] = {}
        for tokens, times in zip(nbest.tokens, nbest.times, strict=True):
            part = tokens[(times >= begin) & (times < end)]
            # The pauses are the best hypothesis's; another may say a word across them.
            if not parts or not len(part) or self._may_begin[int(part[0])]:
                parts.setdefault(part.tobytes(), part)
            if len(parts) == self.spec.num_read:
                break
        first = next(iter(parts.values()))
        found = self._candidates(encoder_out[begin:end], list(parts.values()), bias, ctc_weight) if len(first) else []
        if found:
            return replace(found[0], times=found[0].times + np.int32(begin))
        inside = (nbest.times[0] >= begin) & (nbest.times[0] < end)
        return _Candidate(first, nbest.times[0][inside], nbest.confidences[0][inside], 0.0, 0.0, 0.0, 0.0)

    def _joined(self, best: Sequence[_Candidate], bias: Bias | None) -> _Candidate:
        """The pieces' winners one behind the other."""
        tokens, times = (np.concatenate([getattr(one, name) for one in best]) for name in ("tokens", "times"))
        hotwords, lm = _added(tokens, bias)
        confidences = np.concatenate([one.confidences for one in best])
        total, ctc = (sum(getattr(one, name) for one in best) for name in ("total", "ctc"))
        return _Candidate(tokens, times, confidences, total, ctc, hotwords, lm)

    def _candidates(
        self, encoder_out: FloatArray, first: list[npt.NDArray[np.int32]], bias: Bias | None, ctc_weight: float
    ) -> list[_Candidate]:
        """Read the first pass's texts, propose others, and put all in order; texts that the units lack are left out."""
        memory = self._memory.run({"encoder_out": encoder_out}, ["keys", "values", "ctc_log_probs"])
        reading = _Reading(self._decoder, memory["keys"], memory["values"])
        if self._encoder is not None:
            # The first pass heard less; where it left out a clause, its text is no guide to how long ours may be.
            heard_now = best_path(memory["ctc_log_probs"], self._tokens.blank_id)
            if len(heard_now):
                first = [*first, heard_now]

        def weighed(tokens: npt.NDArray[np.int32], attention: float) -> _Candidate:
            alignment = align(memory["ctc_log_probs"], tokens, self._tokens.blank_id)
            added = _added(tokens, bias)
            total = attention + ctc_weight * alignment.score + added[0] + self.spec.lm_scale * added[1]
            return _Candidate(tokens, alignment.times, alignment.confidences, total, alignment.score, *added)

        heard = self._read(reading, first)
        found = {text: weighed(one.tokens, one.score) for text, one in heard.texts.items()}
        best = max(found, key=lambda text: found[text].total, default=None)
        if best is None or not heard.texts[best].is_sure:
            for proposal in self._proposed(reading, heard, 0 if best is None else heard.texts[best].doubt, encoder_out):
                text = self._units.text(proposal.tokens)
                ids = self._first_speller.spell(text)
                if text not in found and ids is not None:
                    found[text] = weighed(np.array(ids, np.int32), proposal.score)
        return sorted((one for one in found.values() if one.total > -np.inf), key=lambda one: -one.total)

    def _read(self, reading: _Reading, first: Sequence[npt.NDArray[np.int32]]) -> _Heard:
        """Read all texts at once, as a tree of their beginnings."""
        texts: dict[str, npt.NDArray[np.int32]] = {}
        for tokens in first:
            texts.setdefault(self._tokens.text(tokens.tolist()), tokens)
        spelled = {text: self._speller.spell(text, "bpe") for text in texts}
        rows = {text: np.array(ids, np.int32) for text, ids in spelled.items() if ids is not None}
        tree = prefix_tree(list(rows.values()) or [np.zeros(0, np.int32)], self._units.sos_id)
        log_probs = reading.read_tree(tree)
        read = zip(rows, tree.leaves.tolist(), strict=False)
        walked = {text: _walked(texts[text], leaf, tree, log_probs, self._units.eos_id) for text, leaf in read}
        return _Heard(walked, tree, log_probs)

    def _proposed(self, reading: _Reading, heard: _Heard, start: int, encoder_out: FloatArray) -> list[Proposal]:
        """Search on from a node that has been read."""
        tree = heard.tree
        path = _path(tree, start)
        begun = tuple(tree.tokens[path].tolist())
        score = float(heard.log_probs[tree.parents[path], tree.tokens[path]].sum(dtype=np.float64))
        most = round(TOKENS_PER_SECOND * len(encoder_out) * self.spec.frame_ms / 1000)
        most = min(most, _MIN_TOKENS + round(LONGER * int(tree.depths.max())))
        found = propose(
            reading, start, heard.log_probs[start], self._allowed, eos=self._units.eos_id,
            beam_size=self.spec.beam_size, max_tokens=max(_MIN_TOKENS, most - len(begun)),
        )  # fmt: skip
        return [Proposal((*begun, *one.tokens), score + one.score) for one in found]


def _path(tree: PrefixTree, node: int) -> npt.NDArray[np.int64]:
    """The nodes from the root, which is left out, to `node`."""
    path = []
    while node:
        path.append(node)
        node = int(tree.parents[node])
    return np.array(path[::-1], np.int64)


def _walked(tokens: npt.NDArray[np.int32], leaf: int, tree: PrefixTree, log_probs: FloatArray, eos: int) -> _Text:
    """Walk along a text in the tree to its end."""
    path = _path(tree, leaf)
    nodes = np.concatenate([[0], path])  # that a step starts from
    steps = log_probs[nodes, np.append(tree.tokens[path], eos)].astype(np.float64)
    highest = -np.partition(-log_probs[nodes], 1, axis=1)[:, :2]
    lead = steps - np.where(steps >= highest[:, 0], highest[:, 1], highest[:, 0])
    doubtful = nodes[lead < SURE]
    return _Text(tokens, float(steps.sum()), bool((lead >= 0).all()), int(doubtful[0]) if len(doubtful) else leaf)


def _added(tokens: npt.NDArray[np.int32], bias: Bias | None) -> tuple[float, float]:
    """What hotwords and language model add to a finished text."""
    if bias is None:
        return 0.0, 0.0
    states, added = bias.start[np.newaxis], np.zeros(2)
    for token in tokens:
        gains, states = bias.advance(states, np.array([token], np.int32))
        added += gains[0]
    added += bias.finish(states)[0]
    return float(added[0]), float(added[1])


def _listed(nbest: Nbest, found: Sequence[_Candidate], bias: Bias | None) -> Nbest:
    """The candidates, best first, and behind them the list's hypotheses that are none of them."""
    known = {one.tokens.tobytes() for one in found}
    rest = [index for index, tokens in enumerate(nbest.tokens) if tokens.tobytes() not in known]
    others = nbest.reordered(rest, nbest.scores[rest])
    bonus = None
    if bias is not None and others.bonus is not None:
        closing = np.zeros(len(found) + len(rest))
        hotwords = np.concatenate([[one.hotwords for one in found], others.bonus.hotwords])
        lm = np.concatenate([[one.lm for one in found], others.bonus.lm])
        bonus = Bonus(hotwords, lm, closing, closing)
    return replace(
        nbest,
        tokens=(*(one.tokens for one in found), *others.tokens),
        scores=np.concatenate([[one.ctc for one in found], others.scores]),
        times=(*(one.times for one in found), *others.times),
        confidences=(*(one.confidences for one in found), *others.confidences),
        bonus=bonus,
    )
