"""Samples to hypotheses by a transducer, for streams: features, encoder, and search of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.icefall_streaming import IcefallStreamingEncoder
from engines.limits import require_slots, transducer_options
from engines.streaming import BatchedSteps, StepItem, StepOutput
from engines.transducer_networks import OrtNetworks
from speech.framing import Framing, Window
from speech.search.options import MAX_PATHS
from speech.search.transducer import TransducerOptions, TransducerSearch


class StreamingTransducer(BatchedSteps):
    """The step of all streams of a transducer. Owned by the server's app; all methods on the engine's one thread.

    The encoder's state outlives segments, and a segment begins with the last tokens of the one before. A stream's
    results do not depend on its neighbours in the batch, beyond rounding (dynamically quantised graphs round by batch).
    """

    def __init__(
        self,
        encoder: IcefallStreamingEncoder,
        networks: OrtNetworks,
        framing: Framing,
        start_context: Sequence[int],
        unk_id: int,
    ) -> None:
        """Take over `encoder` and `networks`; `unk_id` -1 where the model has no such token."""
        super().__init__(framing, encoder.num_slots, encoder.batch_limit, position_limit_frames=None)
        self._encoder = encoder
        self._search = TransducerSearch(encoder.num_slots, networks, start_context, unk_id, MAX_PATHS)

    def close_slot(self, slot: int) -> None:
        """See `BatchedSteps.close_slot`."""
        require_slots([slot], self.num_slots)
        self._search.close(slot)

    def _warm_up_item(self, slot: int, window: Window) -> StepItem:
        return StepItem(slot, window, True, True, TransducerOptions())

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
