"""Samples to hypotheses: features, encoder and CTC search of a batch, for streams and for whole recordings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from engines.encoder import EncoderOutput, FloatArray, IntArray, StreamingEncoder
from engines.limits import check_search, require_known_tokens, require_slots
from speech.biasing import Bias
from speech.features import Fbank
from speech.framing import Framing, Window
from speech.search import CtcSearch, Nbest, SearchOptions
from speech.search.options import MAX_BEAM
from speech.search.transducer import TransducerOptions

Kept = Literal["encoder_out", "features"]
"""What a step can leave for a second look: encoder output, or the features of the window beyond those of the last."""


@dataclass(frozen=True, slots=True, eq=False)
class StepItem:
    """One stream's next window. A stream's first item has both restarts set, which also clears the slot's last stream.

    `restart_encoder` empties the caches, `restart_search` begins a segment with `options` and `bias`; another bias in
    mid-segment brings other hotwords. `keep` asks for what a second look at the segment will need.
    """

    slot: int
    window: Window
    restart_encoder: bool
    restart_search: bool
    options: SearchOptions | TransducerOptions
    keep: Kept | None = None
    bias: Bias | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StepOutput:
    """What the step made of an item: the segment's n-best list so far, the encoder frames that the window added, and
    what was to be kept, float32: their encoder output (num_frames, dim), if the model has one, or new features
    (n, bins), n so many that all of a segment's together give its encoder frames. The receiver owns it all.
    """

    nbest: Nbest
    num_frames: int
    kept: FloatArray | None


class StreamingEngine(Protocol):
    """What a server asks of a model's streaming half, CTC or transducer; see the methods of `StreamingCtc`."""

    framing: Framing
    position_limit_frames: int | None
    num_slots: int
    batch_limit: int

    @property
    def frame_ms(self) -> float: ...
    def run(self, items: Sequence[StepItem]) -> list[StepOutput]: ...
    def close_slot(self, slot: int) -> None: ...
    def warm_up(self, batch_sizes: Sequence[int]) -> None: ...


class BatchedSteps(ABC):
    """What both kinds of streaming engine share: geometry, the cut into batches, warming up, features."""

    def __init__(self, framing: Framing, num_slots: int, batch_limit: int, position_limit_frames: int | None) -> None:
        """`position_limit_frames` is for the streams' owner, who restarts encoders at pauses."""
        self.framing = framing
        self.position_limit_frames = position_limit_frames
        self.num_slots = num_slots
        self.batch_limit = batch_limit
        self._fbank = Fbank(framing.fbank)

    @property
    def frame_ms(self) -> float:
        """Milliseconds from one encoder frame to the next."""
        return self.framing.subsampling * self.framing.fbank.frame_shift_ms

    def run(self, items: Sequence[StepItem]) -> list[StepOutput]:
        """Advance each item's stream by its window; slots must differ.

        More items than the graph's `batch_limit` run in several batches. Raises EngineFailed, BadOption for options
        that the search cannot use, IndexError for a slot that does not exist.
        """
        outputs: list[StepOutput] = []
        for start in range(0, len(items), self.batch_limit):
            outputs += self._run_batch(items[start : start + self.batch_limit])
        return outputs

    def warm_up(self, batch_sizes: Sequence[int]) -> None:
        """Run each batch size once on silence: compiles the search, lets the runtime allocate. Before any stream."""
        window = Window(np.zeros(self.framing.window_samples, np.float32), self.framing.window_frames, 0, is_last=False)
        for size in sorted({min(size, self.num_slots) for size in batch_sizes}):
            self.run([self._warm_up_item(slot, window) for slot in range(size)])
            for slot in range(size):
                self.close_slot(slot)

    def _features(self, items: Sequence[StepItem], num_frames: IntArray) -> FloatArray:
        return self._fbank.windows(np.stack([item.window.samples for item in items]), num_frames)

    @abstractmethod
    def close_slot(self, slot: int) -> None:
        """Give back what a slot's stream holds beyond its row. Optional: the next stream's first item does so too."""

    @abstractmethod
    def _warm_up_item(self, slot: int, window: Window) -> StepItem: ...

    @abstractmethod
    def _run_batch(self, items: Sequence[StepItem]) -> list[StepOutput]: ...


class StreamingCtc(BatchedSteps):
    """The step of all streams of a model. Owned by the server's app; all methods on the engine's one thread.

    A stream's results do not depend on its neighbours in the batch, beyond float rounding.
    """

    def __init__(
        self,
        encoder: StreamingEncoder,
        framing: Framing,
        num_tokens: int,
        blank_id: int,
        position_limit_frames: int | None = None,
    ) -> None:
        """Take over `encoder`."""
        super().__init__(framing, encoder.num_slots, encoder.batch_limit, position_limit_frames)
        self._encoder = encoder
        self._num_tokens = num_tokens
        self._search = CtcSearch(encoder.num_slots, blank_id, MAX_BEAM)

    def close_slot(self, slot: int) -> None:
        """See `BatchedSteps.close_slot`."""
        require_slots([slot], self.num_slots)
        self._encoder.close_slot(slot)
        self._search.close(slot)

    def _warm_up_item(self, slot: int, window: Window) -> StepItem:
        return StepItem(slot, window, True, True, SearchOptions(), "encoder_out")

    def _run_batch(self, items: Sequence[StepItem]) -> list[StepOutput]:
        slots = [item.slot for item in items]
        require_slots(slots, self.num_slots)
        num_frames = np.array([item.window.num_frames for item in items], np.int32)
        # Before anything changes: a refused option must leave its neighbours as they were.
        options = [check_search(item.options) for item in items]
        for item, wanted in zip(items, options, strict=True):
            if item.restart_search:
                self._search.open(item.slot, wanted, item.bias)
            else:
                self._search.rebias(item.slot, item.bias)
        features = self._features(items, num_frames)
        encoded = self._encoder.step(slots, features, num_frames, [item.restart_encoder for item in items])
        require_known_tokens(encoded.ids, encoded.num_out, self._num_tokens)
        rows = np.array(slots, np.int32)
        self._search.step(rows, encoded.log_probs, encoded.ids, encoded.num_out)
        lists = self._search.nbest(rows)
        return [
            StepOutput(nbest, int(encoded.num_out[row]), self._kept(item, features[row], encoded, row))
            for row, (item, nbest) in enumerate(zip(items, lists, strict=True))
        ]

    def _kept(self, item: StepItem, features: FloatArray, encoded: EncoderOutput, row: int) -> FloatArray | None:
        """Copies, as the step's memory is used again."""
        if item.keep == "features":
            known = 0 if item.restart_search else self.framing.overlap_frames
            return features[known : item.window.num_frames].copy()
        if item.keep is None or encoded.encoder_out is None:
            return None
        return encoded.encoder_out[row, : encoded.num_out[row]].copy()
