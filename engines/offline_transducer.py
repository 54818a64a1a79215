"""Whole recordings to hypotheses by a transducer: features, encoder, search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.encoder import FloatArray
from engines.icefall_offline import IcefallOfflineEncoder
from engines.limits import MAX_BEAM, require_fits, transducer_options
from engines.recordings import OfflineItem, OfflineOutput
from engines.transducer_networks import OrtNetworks
from speech.features import Fbank, FbankConfig
from speech.search.transducer import TransducerOptions, TransducerSearch


class OfflineTransducer:
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
        self.fbank = fbank
        self.subsampling = subsampling
        self.position_limit_frames = position_limit_frames
        self.batch_limit = encoder.batch_limit
        self._context = context
        self._encoder = encoder
        self._features = Fbank(fbank)
        self._search = TransducerSearch(encoder.batch_limit, networks, start_context, unk_id, MAX_BEAM)

    @property
    def frame_ms(self) -> float:
        """Milliseconds from one encoder frame to the next."""
        return self.subsampling * self.fbank.frame_shift_ms

    @property
    def max_samples(self) -> int | None:
        """The longest recording that fits the model's positions, None where there is no limit."""
        if self.position_limit_frames is None:
            return None
        return self.fbank.num_samples((self.position_limit_frames - 1) * self.subsampling + self._context)

    def run(self, items: Sequence[OfflineItem]) -> list[OfflineOutput]:
        """Recognise the recordings; more than `batch_limit` run in several batches.

        Raises BadAudio for a recording beyond the model's positions, BadOption for options of another search,
        EngineFailed.
        """
        for item in items:
            require_fits(len(item.samples), self.max_samples, self.fbank.sample_rate)
            transducer_options(item.options)
        outputs: list[OfflineOutput] = []
        for start in range(0, len(items), self.batch_limit):
            outputs += self._run_batch(items[start : start + self.batch_limit])
        return outputs

    def warm_up(self, batch_sizes: Sequence[int]) -> None:
        """Run each batch size once on a second of silence."""
        item = OfflineItem(np.zeros(self.fbank.sample_rate, np.float32), TransducerOptions())
        for size in sorted({min(size, self.batch_limit) for size in batch_sizes}):
            self.run([item] * size)

    def _run_batch(self, items: Sequence[OfflineItem]) -> list[OfflineOutput]:
        features = [self._features.whole(item.samples) for item in items]
        long_enough = [slot for slot, frames in enumerate(features) if len(frames) >= self._context]
        encoded = self._encoder.frames([features[slot] for slot in long_enough]) if long_enough else []
        for slot, item in enumerate(items):
            self._search.open(slot, transducer_options(item.options), item.bias)
        try:
            self._decode(long_enough, encoded)
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
