"""Whole recordings to hypotheses by a transducer: features, encoder, search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.encoder import FloatArray
from engines.icefall_offline import IcefallOfflineEncoder
from engines.limits import transducer_options
from engines.recordings import BatchedRecordings, OfflineItem, OfflineOutput
from engines.transducer_networks import OrtNetworks
from speech.features import FbankConfig
from speech.search import SearchOptions
from speech.search.options import MAX_PATHS
from speech.search.transducer import TransducerOptions, TransducerSearch


class OfflineTransducer(BatchedRecordings):
    """Recognises recordings in batches. Owned by the server's app; all methods on one thread of its own."""

    def __init__(
        self,
        encoder: IcefallOfflineEncoder,
        networks: OrtNetworks,
        fbank: FbankConfig,
        *,
        subsampling: int,
        context: int,
        start_context: Sequence[int],
        unk_id: int,
        position_limit_frames: int | None = None,
    ) -> None:
        """Take over `encoder` and `networks`. `context` feature frames give the first encoder frame."""
        super().__init__(fbank, subsampling, context, encoder.batch_limit, position_limit_frames)
        self._encoder = encoder
        self._search = TransducerSearch(encoder.batch_limit, networks, start_context, unk_id, MAX_PATHS)

    def _check(self, options: SearchOptions | TransducerOptions) -> TransducerOptions:
        return transducer_options(options)

    def _default_options(self) -> TransducerOptions:
        return TransducerOptions()

    def _run_batch(self, items: Sequence[OfflineItem]) -> list[OfflineOutput]:
        features = self._features_of(items)
        encoded = self._encoder.frames(list(features.values())) if features else []
        for slot, item in enumerate(items):
            self._search.open(slot, self._check(item.options), item.bias)
        try:
            self._decode(list(features), encoded)
            lists = self._search.nbest(range(len(items)))
        finally:
            for slot in range(len(items)):
                self._search.close(slot)
        return [OfflineOutput(nbest, nbest.frames) for nbest in lists]

    def _decode(self, slots: Sequence[int], encoded: Sequence[FloatArray]) -> None:
        """Search all recordings in one call, padded to the longest."""
        if not slots:
            return
        counts = np.array([len(frames) for frames in encoded], np.int32)
        padded = np.zeros((len(slots), int(counts.max()), encoded[0].shape[1]), np.float32)
        for row, frames in zip(padded, encoded, strict=True):
            row[: len(frames)] = frames
        self._search.step(np.array(slots, np.int32), padded, counts)
