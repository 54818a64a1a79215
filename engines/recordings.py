"""Whole recordings to hypotheses: features, encoder, CTC search and, where asked for, rescoring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engines.encoder import FloatArray
from engines.limits import check_search, require_known_tokens
from engines.offline import Encoded, OfflineEncoder
from engines.rescoring import RescoreItem, Rescorer
from speech.biasing import Bias
from speech.errors import BadAudio
from speech.features import Fbank, FbankConfig
from speech.search import CtcSearch, Nbest, SearchOptions
from speech.search.options import MAX_BEAM
from speech.search.transducer import TransducerOptions


@dataclass(frozen=True, slots=True, eq=False)
class OfflineItem:
    """A recording: samples (n,) float32 in [-1, 1] at the model's rate. Rescoring is ignored by models without it.

    `second_pass` makes of rescoring what `RescoreItem` says.
    """

    samples: FloatArray
    options: SearchOptions | TransducerOptions
    rescoring: bool = False
    ctc_weight: float | None = None
    reverse_weight: float | None = None
    bias: Bias | None = None
    second_pass: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class OfflineOutput:
    """The n-best list, best first, and the recording's encoder frames. Audio too short for one gives an empty text."""

    nbest: Nbest
    num_frames: int


class OfflineEngine(Protocol):
    """What a server asks of a model's offline half, CTC or transducer; see the methods of `OfflineCtc`."""

    batch_limit: int

    @property
    def frame_ms(self) -> float: ...
    @property
    def max_samples(self) -> int | None: ...
    def run(self, items: Sequence[OfflineItem]) -> list[OfflineOutput]: ...
    def warm_up(self, batch_sizes: Sequence[int]) -> None: ...


class BatchedRecordings(ABC):
    """What both kinds of offline engine share: geometry, limits and the cut into batches."""

    def __init__(
        self, fbank: FbankConfig, subsampling: int, context: int, batch_limit: int, position_limit_frames: int | None
    ) -> None:
        """`context` feature frames give the first encoder frame."""
        self.fbank = fbank
        self.subsampling = subsampling
        self.position_limit_frames = position_limit_frames
        self.batch_limit = batch_limit
        self._context = context
        self._features = Fbank(fbank)

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

    def require_fits(self, num_samples: int) -> None:
        """Raise BadAudio for a recording beyond the model's positions. Any thread."""
        limit, rate = self.max_samples, self.fbank.sample_rate
        if limit is not None and num_samples > limit:
            raise BadAudio(
                f"{num_samples / rate:.1f} s of audio in one piece; this model allows {limit / rate:.1f} s "
                f"({self.position_limit_frames} encoder frames)"
            )

    def run(self, items: Sequence[OfflineItem]) -> list[OfflineOutput]:
        """Recognise the recordings; more than `batch_limit` run in several batches.

        Raises BadAudio as `require_fits`, BadOption for options that the search cannot use, EngineFailed.
        """
        for item in items:
            self.require_fits(len(item.samples))
            self._check(item.options)
        outputs: list[OfflineOutput] = []
        for start in range(0, len(items), self.batch_limit):
            outputs += self._run_batch(items[start : start + self.batch_limit])
        return outputs

    def warm_up(self, batch_sizes: Sequence[int]) -> None:
        """Run each batch size once on a second of silence."""
        item = OfflineItem(np.zeros(self.fbank.sample_rate, np.float32), self._default_options())
        for size in sorted({min(size, self.batch_limit) for size in batch_sizes}):
            self.run([item] * size)

    def _features_of(self, items: Sequence[OfflineItem]) -> dict[int, FloatArray]:
        """The features of recordings that are long enough for an encoder frame, by their place in the batch."""
        made = ((slot, self._features.whole(item.samples)) for slot, item in enumerate(items))
        return {slot: frames for slot, frames in made if len(frames) >= self._context}

    @abstractmethod
    def _check(self, options: SearchOptions | TransducerOptions) -> object:
        """Raise BadOption for options of another search."""

    @abstractmethod
    def _default_options(self) -> SearchOptions | TransducerOptions: ...

    @abstractmethod
    def _run_batch(self, items: Sequence[OfflineItem]) -> list[OfflineOutput]: ...


class OfflineCtc(BatchedRecordings):
    """Recognises recordings in batches. Owned by the server's app; all methods on one thread of its own."""

    def __init__(
        self,
        encoder: OfflineEncoder,
        fbank: FbankConfig,
        *,
        subsampling: int,
        context: int,
        num_tokens: int,
        blank_id: int,
        position_limit_frames: int | None = None,
        rescorer: Rescorer | None = None,
    ) -> None:
        """Take over `encoder`; `rescorer` may be shared. `context` feature frames give the first encoder frame."""
        super().__init__(fbank, subsampling, context, encoder.batch_limit, position_limit_frames)
        self._encoder = encoder
        self._num_tokens = num_tokens
        self._rescorer = rescorer
        self._search = CtcSearch(encoder.batch_limit, blank_id, MAX_BEAM)

    def _check(self, options: SearchOptions | TransducerOptions) -> SearchOptions:
        return check_search(options)

    def _default_options(self) -> SearchOptions:
        return SearchOptions()

    def _run_batch(self, items: Sequence[OfflineItem]) -> list[OfflineOutput]:
        features = self._features_of(items)
        long_enough = list(features)
        encoded = self._encoder.run(list(features.values())) if features else []
        for slot, item in enumerate(items):
            self._search.open(slot, self._check(item.options), item.bias)
        try:
            self._decode(long_enough, encoded)
            lists = [nbest.closed() for nbest in self._search.nbest(range(len(items)))]
        finally:
            for slot in range(len(items)):
                self._search.close(slot)
        by_slot = dict(zip(long_enough, encoded, strict=True))
        self._rescore(items, lists, features, by_slot)
        counts = [len(by_slot[slot].ids) if slot in by_slot else 0 for slot in range(len(items))]
        return [OfflineOutput(nbest, count) for nbest, count in zip(lists, counts, strict=True)]

    def _decode(self, slots: Sequence[int], encoded: Sequence[Encoded]) -> None:
        """Search all recordings in one call, padded to the longest."""
        if not slots:
            return
        num_frames = np.array([len(one.ids) for one in encoded], np.int32)
        shape = (len(slots), int(num_frames.max()), encoded[0].ids.shape[1])
        log_probs, ids = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
        for row, one in enumerate(encoded):
            log_probs[row, : len(one.ids)] = one.log_probs
            ids[row, : len(one.ids)] = one.ids
        require_known_tokens(ids, num_frames, self._num_tokens)
        self._search.step(np.array(slots, np.int32), log_probs, ids, num_frames)

    def _rescore(
        self,
        items: Sequence[OfflineItem],
        lists: list[Nbest],
        features: dict[int, FloatArray],
        encoded: dict[int, Encoded],
    ) -> None:
        """Put the rescored lists in the place of those that ask for it."""
        if self._rescorer is None:
            return
        work: dict[int, RescoreItem] = {}
        for slot, one in encoded.items():
            item = items[slot]
            if item.rescoring and one.encoder_out is not None:
                is_cut = item.second_pass and self._rescorer.is_cut(len(one.encoder_out))
                work[slot] = RescoreItem(
                    features[slot] if is_cut else one.encoder_out, lists[slot], item.ctc_weight, item.reverse_weight,
                    item.second_pass, item.bias, is_cut,
                )  # fmt: skip
        for slot, nbest in zip(work, self._rescorer.run(list(work.values())), strict=True):
            lists[slot] = nbest
