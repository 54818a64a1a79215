"""CTC search of many streams at once: owns the state arrays, leaves the work to compiled kernels.

Owned by the engine and used from its one thread only; `step` holds no GIL while it searches.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speech.biasing.bias import Bias
from speech.biasing.steps import GRAPH_NODE, HANDLE_SIZE, HOTWORD_GAIN, LM_GAIN, NUM_STATES
from speech.errors import BadOption
from speech.search import kernels, layout
from speech.search.nbest import Bonus, Nbest
from speech.search.options import SearchOptions

# Nodes per slot to start with; the pool doubles whenever the living hypotheses of all slots need more.
_NODES_PER_SLOT = 64
_BONUS_ROWS = slice(layout.HOTWORDS, layout.ALL_SCORES)
_STATE_ROWS = slice(layout.BIAS_STATES, layout.ALL_LINKS)


class CtcSearch:
    """State of `num_slots` searches, each with options of its own; lives as long as its engine.

    About 3 KiB per slot at max_beam 32, plus 24 bytes for each token of a living hypothesis or of its best paths,
    shared where hypotheses share their beginnings. A slot's result does not depend on other slots or on the cut into
    steps, to the bit.
    """

    def __init__(self, num_slots: int, blank_id: int, max_beam: int = 32) -> None:
        self.blank_id = blank_id
        self.max_beam = max_beam
        self.num_slots = num_slots
        self._settings = np.zeros((num_slots, layout.NUM_SETTINGS))
        self._numbers = np.zeros((num_slots, layout.NUM_NUMBERS), np.int32)
        self._scores = np.zeros((num_slots, layout.ALL_SCORES, max_beam))
        self._links = np.zeros((num_slots, layout.ALL_LINKS, max_beam), np.int32)
        self._handles = np.zeros((num_slots, HANDLE_SIZE), np.int64)
        self._biases: list[Bias | None] = [None] * num_slots  # keeps what the handles point to
        self._nodes = np.zeros((0, layout.NODE_FIELDS), np.int32)
        self._node_log_probs = np.zeros(0, np.float32)
        self._free = np.array([layout.NONE, 0], np.int32)
        self._grow(max(num_slots * _NODES_PER_SLOT, 4 * max_beam + 4))

    @property
    def num_nodes(self) -> int:
        """Nodes of living hypotheses, all slots together."""
        return len(self._nodes) - int(self._free[layout.NUM_FREE])

    def open(self, slot: int, options: SearchOptions, bias: Bias | None = None) -> None:
        """Begin a stream in `slot`, whatever was there; greedy search ignores `bias`.

        Raises BadOption for a beam above max_beam.
        """
        if options.beam_size > self.max_beam:
            raise BadOption(f"search beam_size is {options.beam_size}; this server allows up to {self.max_beam}")
        self.close(slot)
        self._settings[slot, layout.LOG_BLANK_SKIP] = np.log(options.blank_skip) if options.blank_skip < 1 else np.inf
        self._settings[slot, layout.CUTOFF_PROB] = options.cutoff_prob if options.cutoff_prob < 1 else np.inf
        self._settings[slot, layout.BLANK_PENALTY] = options.blank_penalty
        is_greedy = options.method == "ctc_greedy"
        self._numbers[slot, layout.BEAM_SIZE] = 0 if is_greedy else options.beam_size
        self._numbers[slot, layout.TOP_K] = options.top_k
        self._set_bias(slot, None if is_greedy else bias)
        self._clear(slot, is_open=True)
        self._plant_bias(slot)

    def reset(self, slot: int) -> None:
        """Begin a new segment: hypotheses and frame counts start anew, options stay. The slot must be open."""
        self._clear(slot, is_open=True)
        self._plant_bias(slot)

    def rebias(self, slot: int, bias: Bias | None) -> None:
        """Take other hotwords in the middle of a segment; nothing happens where they are the same.

        What whole phrases have earned stays, the rest is paid back. The language model stays as it was: another one
        counts from the next segment on, when the slot is opened again.
        """
        old = self._biases[slot]
        graph = None if bias is None else bias.graph
        if graph is (None if old is None else old.graph) or self._numbers[slot, layout.BEAM_SIZE] == 0:
            return
        if old is None:
            self._scores[slot, _BONUS_ROWS] = 0.0
            self._links[slot, _STATE_ROWS] = 0
        else:
            count = self._numbers[slot, layout.NUM_HYPS]
            refunds = old.finish(self._links[slot, _STATE_ROWS, :count].T)[:, HOTWORD_GAIN]
            self._scores[slot, layout.HOTWORDS, :count] += refunds
            self._links[slot, layout.BIAS_STATES + GRAPH_NODE] = 0
        self._set_bias(slot, (old or Bias()).with_graph(graph))

    def close(self, slot: int) -> None:
        """Give up the slot's nodes and its bias; harmless when it is closed."""
        self._clear(slot, is_open=False)
        self._set_bias(slot, None)

    def step(
        self,
        slots: NDArray[np.int32],
        log_probs: NDArray[np.float32],
        ids: NDArray[np.int32],
        num_frames: NDArray[np.int32],
    ) -> None:
        """Search the next frames of a batch of open, distinct slots.

        `slots` (B,); `log_probs` (B, T, K) natural logs, descending along K; `ids` (B, T, K); `num_frames` (B,) how
        many of the T frames count. A blank not among the K counts as nearly impossible. No input makes it fail.
        """
        done = np.zeros(len(slots), np.int32)
        batch = (
            np.ascontiguousarray(slots, np.int32),
            np.ascontiguousarray(log_probs, np.float32),
            np.ascontiguousarray(ids, np.int32),
            np.ascontiguousarray(np.minimum(num_frames, log_probs.shape[1]), np.int32),
        )
        while not kernels.step(*self._state(), self._handles, *batch, done, np.int32(self.blank_id)):
            self._grow(2 * len(self._nodes))

    def nbest(self, slots: Sequence[int] | NDArray[np.int32], limit: int | None = None) -> list[Nbest]:
        """Read the hypotheses of open slots so far, at most `limit` of each (all, where None)."""
        slots = np.asarray(slots, np.int32)
        limit = self.max_beam if limit is None else limit
        counts = np.minimum(self._numbers[slots, layout.NUM_HYPS], limit)
        lengths = [self._links[s, layout.LENGTH, :n].tolist() for s, n in zip(slots, counts, strict=True)]
        size = sum(map(sum, lengths))
        tokens, times = np.empty(size, np.int32), np.empty(size, np.int32)
        confidences = np.empty(size, np.float32)
        kernels.read(*self._state(), slots, limit, tokens, times, confidences)
        lists: list[Nbest] = []
        start = 0
        for slot, slot_lengths in zip(slots.tolist(), lengths, strict=True):
            spans = []
            for length in slot_lengths:
                spans.append(slice(start, start + length))
                start += length
            lists.append(
                Nbest(
                    tokens=tuple(tokens[span] for span in spans),
                    scores=self._scores[slot, layout.TOTAL, : len(spans)].copy(),
                    times=tuple(times[span] for span in spans),
                    confidences=tuple(confidences[span] for span in spans),
                    trailing_blank_frames=int(self._numbers[slot, layout.TRAILING_BLANKS]),
                    frames=int(self._numbers[slot, layout.FRAMES]),
                    bonus=None if self._biases[slot] is None else self._bonus(slot, len(spans)),
                )
            )
        return lists

    def _bonus(self, slot: int, count: int) -> Bonus:
        bias = self._biases[slot]
        assert bias is not None, "asked for a slot that has a bias"
        hotwords, lm = self._scores[slot, _BONUS_ROWS, :count].copy()
        closing = bias.finish(self._links[slot, _STATE_ROWS, :count].T)
        return Bonus(hotwords, lm, closing[:, HOTWORD_GAIN], closing[:, LM_GAIN])

    def _set_bias(self, slot: int, bias: Bias | None) -> None:
        self._biases[slot] = bias
        self._handles[slot] = 0 if bias is None else bias.handle

    def _plant_bias(self, slot: int) -> None:
        """Give the empty hypothesis its bonus and states."""
        bias = self._biases[slot]
        self._scores[slot, _BONUS_ROWS, 0] = 0.0
        self._links[slot, _STATE_ROWS, 0] = np.zeros(NUM_STATES, np.int32) if bias is None else bias.start

    def check_integrity(self) -> None:
        """Prove that every node is either free or living; slow, for tests and idle times."""
        free, node = 0, int(self._free[layout.FREE_HEAD])
        while node != layout.NONE:
            free, node = free + 1, int(self._nodes[node, layout.PARENT])
            assert free <= len(self._nodes), "the free list has a cycle"
        assert free == self._free[layout.NUM_FREE], f"{free} nodes are free, the count says {self._free[1]}"

    def _state(self) -> tuple[NDArray[np.float64] | NDArray[np.int32] | NDArray[np.float32], ...]:
        return (
            self._settings, self._numbers, self._scores, self._links, self._nodes, self._node_log_probs, self._free
        )  # fmt: skip

    def _clear(self, slot: int, is_open: bool) -> None:
        if is_open and self._free[layout.NUM_FREE] == 0:
            self._grow(2 * len(self._nodes))
        kernels.clear(*self._state(), slot, is_open)

    def _grow(self, capacity: int) -> None:
        """Enlarge the pool to `capacity` nodes; the new ones join the free list."""
        old = len(self._nodes)
        nodes = np.zeros((capacity, layout.NODE_FIELDS), np.int32)
        nodes[:old] = self._nodes
        nodes[old:, layout.PARENT] = np.arange(old + 1, capacity + 1)
        nodes[-1, layout.PARENT] = self._free[layout.FREE_HEAD]
        log_probs = np.zeros(capacity, np.float32)
        log_probs[:old] = self._node_log_probs
        self._nodes, self._node_log_probs = nodes, log_probs
        self._free[layout.FREE_HEAD] = old
        self._free[layout.NUM_FREE] += capacity - old
