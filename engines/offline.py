"""Encoders of whole recordings: W1, offline W4, and W3 exported without chunks. Features in, candidates out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engines.description import OfflineSpec
from engines.encoder import FloatArray, IntArray
from engines.families.wenet_cpu import W3
from engines.ort import Array, OrtModel, OrtOptions
from engines.topk import DEFAULT_CANDIDATES, top_k


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One recording: `log_probs` (frames, k) descending, `ids` (frames, k), `encoder_out` (frames, dim) or None."""

    log_probs: FloatArray
    ids: IntArray
    encoder_out: FloatArray | None


class OfflineEncoder(Protocol):
    """Turns recordings into candidates. Owns its graphs and no state between calls: any thread may call `run`."""

    batch_limit: int

    def run(self, features: Sequence[FloatArray]) -> list[Encoded]:
        """Encode features (frames, bins) float32 of any lengths in one batch; none may be too short for a frame.

        A result does not depend on its neighbours. Raises EngineFailed.
        """
        ...


class BatchedEncoder:
    """W1 and offline W4: one run for the batch, padded to its longest recording and masked by lengths."""

    def __init__(self, spec: OfflineSpec, max_batch: int, pad_value: float, options: OrtOptions) -> None:
        """Load the graph. Raises BadModel."""
        self.batch_limit = max_batch if spec.is_batchable else 1
        self._pad_value = pad_value
        self._model = OrtModel(spec.encoder, options)
        self._names = ("x", "x_lens") if spec.family == "W4" else ("speech", "speech_lengths")

    def run(self, features: Sequence[FloatArray]) -> list[Encoded]:
        """See `OfflineEncoder.run`."""
        lengths = np.array([len(frames) for frames in features])
        padded = np.full((len(features), lengths.max(), features[0].shape[1]), self._pad_value, np.float32)
        for row, frames in zip(padded, features, strict=True):
            row[: len(frames)] = frames
        outputs = self._model.run({self._names[0]: padded, self._names[1]: lengths})
        counts = outputs["log_probs_lens" if "log_probs_lens" in outputs else "encoder_out_lens"]
        return [self._row(outputs, index, int(count)) for index, count in enumerate(counts)]

    def _row(self, outputs: dict[str, Array], index: int, count: int) -> Encoded:
        # Copies, so that a long neighbour's memory is not kept by a short result.
        encoder_out = outputs["encoder_out"][index, :count].copy() if "encoder_out" in outputs else None
        if "beam_log_probs" in outputs:
            log_probs = outputs["beam_log_probs"][index, :count].copy()
            return Encoded(log_probs, outputs["beam_log_probs_idx"][index, :count].astype(np.int32), encoder_out)
        scores = outputs["ctc_log_probs" if "ctc_log_probs" in outputs else "log_probs"][index, :count]
        return Encoded(*top_k(scores, DEFAULT_CANDIDATES), encoder_out)


class WholeEncoder:
    """W3 exported with neither chunks nor left context: a recording is one very long chunk."""

    batch_limit = 1

    def __init__(self, spec: OfflineSpec, options: OrtOptions) -> None:
        """Load encoder and CTC head. Raises BadModel."""
        assert spec.ctc is not None, "inspection refuses a W3 encoder without its CTC head"
        self._encoder = OrtModel(spec.encoder, options)
        self._ctc = OrtModel(spec.ctc, options)
        self._states: dict[str, Array] = {state.name: np.zeros(state.shape, np.float32) for state in spec.states}

    def run(self, features: Sequence[FloatArray]) -> list[Encoded]:
        """See `OfflineEncoder.run`."""
        return [self._one(frames) for frames in features]

    def _one(self, features: FloatArray) -> Encoded:
        feeds: dict[str, Array] = {
            W3.features: features[np.newaxis],
            "offset": np.zeros((), np.int64),
            "required_cache_size": np.full((), -1, np.int64),
            W3.mask: np.ones((1, 1, 0), np.bool_),
            **self._states,
        }
        hidden = self._encoder.run(feeds, [W3.output])[W3.output]
        scores = self._ctc.run({"hidden": hidden})["probs"][0]
        return Encoded(*top_k(scores, DEFAULT_CANDIDATES), hidden[0])


def open_offline(spec: OfflineSpec, max_batch: int, pad_value: float, options: OrtOptions) -> OfflineEncoder:
    """Load the encoder of an offline half. Raises BadModel."""
    if spec.family == "W3":
        return WholeEncoder(spec, options)
    return BatchedEncoder(spec, max_batch, pad_value, options)
