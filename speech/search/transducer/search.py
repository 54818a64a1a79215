"""Transducer search of many streams at once: owns the state arrays, leaves the work to compiled kernels and networks.

Owned by the engine and used from its one thread only; kernels hold no GIL, and runtimes of networks need none.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speech.biasing.bias import Bias
from speech.biasing.steps import GRAPH_NODE, HOTWORD_GAIN, LM_GAIN, NUM_STATES
from speech.errors import BadOption
from speech.search.layout import FREE_HEAD, NODE_FIELDS, NUM_FREE, PARENT
from speech.search.nbest import Bonus, Nbest
from speech.search.transducer import kernels, layout
from speech.search.transducer.decoder_cache import DecoderCache
from speech.search.transducer.networks import Networks
from speech.search.transducer.options import TransducerOptions

_METHODS = {"greedy_search": layout.GREEDY, "modified_beam_search": layout.MODIFIED, "fast_beam_search": layout.FAST}
# Nodes per slot to start with; the pool doubles whenever the living hypotheses of all slots need more.
_NODES_PER_SLOT = 64


class TransducerSearch:
    """State of `num_slots` searches, each with options of its own; lives as long as its engine.

    About 2 KiB per slot at max_beam 32, plus 24 bytes for each token of a living hypothesis, shared where hypotheses
    share their beginnings. A slot's result does not depend on other slots or on the cut into steps, as far as the
    networks' rows do not depend on each other.
    """

    def __init__(
        self, num_slots: int, networks: Networks, start_context: Sequence[int], unk_id: int = -1, max_beam: int = 32
    ) -> None:
        """`start_context` (context_size,) precedes a stream's first token; `unk_id` is never emitted, -1: no such.

        `networks` belong to the caller; the search calls them from `step` only.
        """
        if len(start_context) != networks.context_size:
            raise BadOption(
                f"start context {list(start_context)} given, the decoder takes {networks.context_size} tokens"
            )
        self.num_slots = num_slots
        self.max_beam = max_beam
        self._networks = networks
        self._unk_id = np.int32(unk_id)
        self._start = np.array(start_context, np.int32)
        self._cache = DecoderCache(networks)
        self._biases: dict[int, Bias] = {}
        self._settings = np.zeros((num_slots, layout.NUM_SETTINGS))
        self._numbers = np.zeros((num_slots, layout.NUM_NUMBERS), np.int32)
        self._scores = np.zeros((num_slots, layout.NUM_SCORES, max_beam))
        self._links = np.full((num_slots, layout.NUM_LINKS, max_beam), layout.NONE, np.int32)
        self._contexts = np.zeros((num_slots, max_beam, networks.context_size), np.int32)
        self._states = np.zeros((num_slots, max_beam, NUM_STATES), np.int32)
        self._nodes = np.zeros((0, NODE_FIELDS), np.int32)
        self._node_log_probs = np.zeros(0, np.float32)
        self._free = np.array([layout.NONE, 0], np.int32)
        self._grow(max(num_slots * _NODES_PER_SLOT, 4 * max_beam + 4))

    @property
    def num_nodes(self) -> int:
        """Nodes of living hypotheses, all slots together."""
        return len(self._nodes) - int(self._free[NUM_FREE])

    def open(self, slot: int, options: TransducerOptions, bias: Bias | None = None) -> None:
        """Begin a stream in `slot`, whatever was there; greedy search has no use for a bias.

        Raises BadOption for more hypotheses than max_beam.
        """
        width = _width(options)
        if width > self.max_beam:
            raise BadOption(f"search keeps {width} hypotheses; this server allows up to {self.max_beam}")
        self.close(slot)
        self._settings[slot, layout.BLANK_PENALTY] = options.blank_penalty
        self._settings[slot, layout.INVERSE_TEMPERATURE] = 1.0 / options.temperature
        self._settings[slot, layout.BEAM_WIDTH] = options.beam
        self._numbers[slot, layout.METHOD] = _METHODS[options.method]
        self._numbers[slot, layout.BEAM_SIZE] = width
        self._numbers[slot, layout.MAX_SYMBOLS] = options.max_symbols
        self._set_bias(slot, bias)
        self._begin(slot, is_new=True)

    def reset(self, slot: int, bias: Bias | None = None) -> None:
        """Begin a new segment of the stream, with this bias; options stay. The slot must be open.

        Hypotheses keep their last tokens as context and their scores relative to the best, unless the segment had no
        token: then the start context follows, as in sherpa-onnx.
        """
        is_empty = self._links[slot, layout.LENGTH, self._order(slot)[0]] == 0
        self._set_bias(slot, bias)
        self._begin(slot, is_new=bool(is_empty))

    def rebias(self, slot: int, bias: Bias | None) -> None:
        """Take other hotwords in the middle of a segment; nothing happens where they are the same.

        What whole phrases have earned stays, the rest is paid back. The language model stays as it was.
        """
        old = self._biases.get(slot)
        graph = None if bias is None else bias.graph
        if graph is (None if old is None else old.graph) or self._numbers[slot, layout.METHOD] == layout.GREEDY:
            return
        count = self._numbers[slot, layout.NUM_HYPS]
        if old is None:
            self._scores[slot, layout.HOTWORDS :] = 0.0
            self._states[slot] = 0
        else:
            refunds = old.finish(self._states[slot, :count])[:, HOTWORD_GAIN]
            self._scores[slot, layout.HOTWORDS, :count] += refunds
            self._states[slot, :, GRAPH_NODE] = 0
        self._biases[slot] = (old or Bias()).with_graph(graph)

    def close(self, slot: int) -> None:
        """Give up the slot's nodes; harmless when it is closed."""
        self._biases.pop(slot, None)
        kernels.plant(*self._state(), slot, self._start[:0], True)

    def step(self, slots: NDArray[np.int32], encoder_out: NDArray[np.float32], num_frames: NDArray[np.int32]) -> None:
        """Search the next frames of a batch of open, distinct slots.

        `slots` (B,); `encoder_out` (B, T, dim); `num_frames` (B,) how many of the T frames count.
        """
        slots = np.ascontiguousarray(slots, np.int32)
        counts = np.minimum(num_frames, encoder_out.shape[1])
        room = int(self._numbers[slots, layout.BEAM_SIZE].sum())
        batch, number, missing = np.empty((3, room), np.int32)
        rows = _Rows(batch, number, missing, np.empty(room, np.int64))
        for frame in range(int(counts.max(initial=0))):
            pending = np.ascontiguousarray(counts > frame)
            again = True
            while again:
                logits = self._logits(slots, pending, encoder_out[:, frame], rows)
                self._reserve(2 * room)
                again = kernels.advance(*self._state(), slots, pending, logits, self._unk_id)
                self._ask_biases(slots)

    def nbest(self, slots: Sequence[int] | NDArray[np.int32], limit: int | None = None) -> list[Nbest]:
        """Read the hypotheses of open slots so far, at most `limit` of each (all, where None).

        modified_beam_search orders them by total per token, start context included.
        """
        limit = self.max_beam if limit is None else limit
        orders = [self._order(slot)[:limit] for slot in slots]
        tips = np.concatenate([self._links[s, layout.PATH, o] for s, o in zip(slots, orders, strict=True)])
        lengths = np.concatenate([self._links[s, layout.LENGTH, o] for s, o in zip(slots, orders, strict=True)])
        size = int(lengths.sum())
        tokens, times, sure = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.float32)
        kernels.read(self._nodes, self._node_log_probs, tips, lengths, tokens, times, sure)
        ends = np.cumsum(lengths).tolist()
        spans = iter([slice(end - length, end) for end, length in zip(ends, lengths.tolist(), strict=True)])
        return [self._nbest(slot, order, spans, tokens, times, sure) for slot, order in zip(slots, orders, strict=True)]

    def check_integrity(self) -> None:
        """Prove that every node is either free or living; slow, for tests and idle times."""
        free, node = 0, int(self._free[FREE_HEAD])
        while node != layout.NONE:
            free, node = free + 1, int(self._nodes[node, PARENT])
            assert free <= len(self._nodes), "the free list has a cycle"
        assert free == self._free[NUM_FREE], f"{free} nodes are free, the count says {self._free[NUM_FREE]}"

    def _nbest(
        self,
        slot: int,
        order: NDArray[np.intp],
        spans: Iterator[slice],
        tokens: NDArray[np.int32],
        times: NDArray[np.int32],
        confidences: NDArray[np.float32],
    ) -> Nbest:
        mine = [next(spans) for _ in order]
        return Nbest(
            tokens=tuple(tokens[span] for span in mine),
            scores=self._scores[slot, layout.ACOUSTIC, order],
            times=tuple(times[span] for span in mine),
            confidences=tuple(confidences[span] for span in mine),
            trailing_blank_frames=int(self._links[slot, layout.TRAILING, order[0]]),
            frames=int(self._numbers[slot, layout.FRAMES]),
            bonus=self._bonus(slot, order) if slot in self._biases else None,
            length_offset=len(self._start) if self._numbers[slot, layout.METHOD] == layout.MODIFIED else None,
        )

    def _bonus(self, slot: int, order: NDArray[np.intp]) -> Bonus:
        hotwords, lm = self._scores[slot, layout.HOTWORDS :][:, order]
        closing = self._biases[slot].finish(self._states[slot, order])
        return Bonus(hotwords, lm, closing[:, HOTWORD_GAIN], closing[:, LM_GAIN])

    def _order(self, slot: int) -> NDArray[np.intp]:
        """Numbers of the slot's hypotheses, best first."""
        num = self._numbers[slot, layout.NUM_HYPS]
        totals = self._scores[slot, :, :num].sum(axis=0)
        if self._numbers[slot, layout.METHOD] == layout.MODIFIED:
            totals = totals / (self._links[slot, layout.LENGTH, :num] + len(self._start))
        return np.argsort(-totals, kind="stable")

    def _logits(
        self, slots: NDArray[np.int32], pending: NDArray[np.bool_], frames: NDArray[np.float32], rows: "_Rows"
    ) -> NDArray[np.float32]:
        """Ask the networks for all hypotheses of the pending slots: (hypotheses, vocabulary)."""
        num, num_missing = kernels.collect(
            self._numbers,
            self._contexts,
            slots,
            pending,
            self._cache.contexts,
            rows.batch,
            rows.number,
            rows.place,
            rows.missing,
        )
        hypotheses = (slots[rows.batch[:num]], rows.number[:num])
        decoded = self._cache.outputs(rows.place[:num], rows.missing[:num_missing], self._contexts, hypotheses)
        logits = self._networks.join(np.ascontiguousarray(frames[rows.batch[:num]]), decoded)
        return np.ascontiguousarray(logits, np.float32)

    def _ask_biases(self, slots: NDArray[np.int32]) -> None:
        """Let biases score the tokens that hypotheses have just taken, one call for each."""
        if not self._biases:
            return
        by_bias: dict[int, list[int]] = {}
        for slot in slots.tolist():
            if slot in self._biases:
                by_bias.setdefault(id(self._biases[slot]), []).append(slot)
        for group in by_bias.values():
            places = [
                (slot, hyp)
                for slot in group
                for hyp in range(self._numbers[slot, layout.NUM_HYPS])
                if self._links[slot, layout.TAKEN, hyp] != layout.NONE
            ]
            if not places:
                continue
            s, h = np.array(places).T
            gains, states = self._biases[group[0]].advance(self._states[s, h], self._links[s, layout.TAKEN, h])
            self._scores[s, layout.HOTWORDS :, h] += gains
            self._states[s, h] = states
            self._links[s, layout.TAKEN, h] = layout.NONE

    def _set_bias(self, slot: int, bias: Bias | None) -> None:
        """Greedy search has no use for one."""
        self._biases.pop(slot, None)
        if bias is not None and self._numbers[slot, layout.METHOD] != layout.GREEDY:
            self._biases[slot] = bias

    def _begin(self, slot: int, *, is_new: bool) -> None:
        self._reserve(self.max_beam)
        kernels.plant(*self._state(), slot, self._start, is_new)
        if slot in self._biases:
            self._states[slot] = self._biases[slot].start

    def _state(self) -> tuple[NDArray[np.float64] | NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float32], ...]:
        return (
            self._settings, self._numbers, self._scores, self._links, self._contexts, self._states,
            self._nodes, self._node_log_probs, self._free,
        )  # fmt: skip

    def _reserve(self, num_nodes: int) -> None:
        while self._free[NUM_FREE] < num_nodes:
            self._grow(2 * len(self._nodes))

    def _grow(self, capacity: int) -> None:
        """Enlarge the pool to `capacity` nodes; the new ones join the free list."""
        old = len(self._nodes)
        nodes = np.zeros((capacity, NODE_FIELDS), np.int32)
        nodes[:old] = self._nodes
        nodes[old:, PARENT] = np.arange(old + 1, capacity + 1)
        nodes[-1, PARENT] = self._free[FREE_HEAD]
        log_probs = np.zeros(capacity, np.float32)
        log_probs[:old] = self._node_log_probs
        self._nodes, self._node_log_probs = nodes, log_probs
        self._free[FREE_HEAD] = old
        self._free[NUM_FREE] += capacity - old


class _Rows(NamedTuple):
    """Room for what `kernels.collect` lists."""

    batch: NDArray[np.int32]
    number: NDArray[np.int32]
    missing: NDArray[np.int32]
    place: NDArray[np.int64]


def _width(options: TransducerOptions) -> int:
    """Most hypotheses that a stream keeps."""
    if options.method == "greedy_search":
        return 1
    return (
        options.beam_size if options.method == "modified_beam_search" else min(options.max_contexts, options.max_states)
    )
