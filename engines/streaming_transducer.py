"""Samples to hypotheses by a transducer, for streams: features, encoder, and search of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.encoder import FloatArray, IntArray
from engines.icefall_streaming import IcefallStreamingEncoder
from engines.limits import MAX_BEAM, require_slots, transducer_options
from engines.streaming import StepItem, StepOutput
from engines.transducer_networks import OrtNetworks
from speech.features import Fbank
from speech.framing import Framing, Window
from speech.search.transducer import TransducerOptions, TransducerSearch

_WARM_UP = TransducerOptions()


class StreamingTransducer:
    """The step of all streams of a transducer. Owned by the server's app; all methods on the engine's one thread.

    The encoder's state outlives segments, and a segment begins with the last tokens of the one before. A stream's
    results do not depend on its neighbours in the batch, beyond rounding (dynamically quantised graphs round by batch).
    """

    position_limit_frames: int | None = None

    def __init__(
        self,
        encoder: IcefallStreamingEncoder,
        networks: OrtNetworks,
        framing: Framing,
        start_context: Sequence[int],
        unk_id: int,
    ) -> None:
        """Take over `encoder` and `networks`; `unk_id` -1 where the model has no such token."""
        self.framing = framing
        self.num_slots = encoder.num_slots
        self.batch_limit = encoder.batch_limit
        self._encoder = encoder
        self._fbank = Fbank(framing.fbank)
        self._search = TransducerSearch(encoder.num_slots, networks, start_context, unk_id, MAX_BEAM)

    @property
    def frame_ms(self) -> float:
        """Milliseconds from one encoder frame to the next."""
        return self.framing.subsampling * self.framing.fbank.frame_shift_ms

    def run(self, items: Sequence[StepItem]) -> list[StepOutput]:
        """Advance each item's stream by its window; slots must differ.

        More items than the graph's `batch_limit` run in several batches. Raises EngineFailed, BadOption for options of
        another search, IndexError for a slot that does not exist.
        """
        outputs: list[StepOutput] = []
        for start in range(0, len(items), self.batch_limit):
            outputs += self._run_batch(items[start : start + self.batch_limit])
        return outputs

    def close_slot(self, slot: int) -> None:
        """Give back what a slot's stream holds beyond its row. Optional: the next stream's first item does so too."""
        require_slots([slot], self.num_slots)
        self._search.close(slot)

    def warm_up(self, batch_sizes: Sequence[int]) -> None:
        """Run each batch size once on silence: compiles the search, lets the runtime allocate. Before any stream."""
        window = Window(np.zeros(self.framing.window_samples, np.float32), self.framing.window_frames, 0, is_last=False)
        for size in sorted({min(size, self.num_slots) for size in batch_sizes}):
            self.run([StepItem(slot, window, True, True, _WARM_UP) for slot in range(size)])
            for slot in range(size):
                self.close_slot(slot)

    def _run_batch(self, items: Sequence[StepItem]) -> list[StepOutput]:
        slots = [item.slot for item in items]
        require_slots(slots, self.num_slots)
        # Before anything changes: a refused option must leave its neighbours as they were.
        options = [transducer_options(item.options) for item in items]
        num_frames = np.array([item.window.num_frames for item in items], np.int32)
        for item, wanted in zip(items, options, strict=True):
            if item.restart_encoder:
                self._search.open(item.slot, wanted, item.bias)
            elif item.restart_search:
                self._search.reset(item.slot, item.bias)
            else:
                self._search.rebias(item.slot, item.bias)
        encoded = self._encoder.step(slots, self._features(items, num_frames), [item.restart_encoder for item in items])
        counts = self._encoder.num_out(num_frames, encoded.shape[1])
        rows = np.array(slots, np.int32)
        self._search.step(rows, encoded, counts)
        lists = self._search.nbest(rows)
        return [StepOutput(nbest, int(count), None) for nbest, count in zip(lists, counts, strict=True)]

    def _features(self, items: Sequence[StepItem], num_frames: IntArray) -> FloatArray:
        features = self._fbank(np.stack([item.window.samples for item in items]))
        for row, count in zip(features, num_frames, strict=True):
            row[count:] = self.framing.fbank.pad_value
        return features
