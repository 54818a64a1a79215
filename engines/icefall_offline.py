"""Encoders of whole recordings of icefall's families: features in, encoder frames or CTC candidates out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.description import OfflineSpec
from engines.encoder import FloatArray
from engines.offline import Encoded
from engines.ort import Array, OrtModel, OrtOptions
from engines.topk import DEFAULT_CANDIDATES, top_k
from speech.framing import frames_encoded


class IcefallOfflineEncoder:
    """One run for the batch, padded to its longest recording. Owns its graph; any thread."""

    def __init__(self, spec: OfflineSpec, max_batch: int, pad_value: float, options: OrtOptions) -> None:
        """Load the graph. Raises BadModel."""
        assert spec.names is not None, "the families of icefall are described with their names"
        self.batch_limit = max_batch if spec.is_batchable else 1
        self._spec = spec
        self._names = spec.names
        self._pad_value = pad_value
        self._model = OrtModel(spec.encoder, options)

    def frames(self, features: Sequence[FloatArray]) -> list[FloatArray]:
        """Encode features (frames, bins) float32 of any lengths; return (encoder frames, size) float32 of each.

        None may be too short for a frame. Raises EngineFailed.
        """
        lengths = np.array([len(rows) for rows in features])
        padded = np.full((len(features), lengths.max(), features[0].shape[1]), self._pad_value, np.float32)
        for row, rows in zip(padded, features, strict=True):
            row[: len(rows)] = rows
        feeds: dict[str, Array] = {self._names.features: padded}
        if self._names.lengths is not None:
            feeds[self._names.lengths] = lengths
        out = self._model.run(feeds, [self._names.out])[self._names.out]
        counts = [frames_encoded(len(rows), self._spec.subsampling, self._spec.context) for rows in features]
        # Copies, so that a long neighbour's memory is not kept by a short result.
        return [out[index, :count].astype(np.float32) for index, count in enumerate(counts)]


class IcefallOfflineCtc:
    """Offline K3 as an OfflineEncoder."""

    def __init__(self, encoder: IcefallOfflineEncoder) -> None:
        """Take over `encoder`."""
        self._encoder = encoder
        self.batch_limit = encoder.batch_limit

    def run(self, features: Sequence[FloatArray]) -> list[Encoded]:
        """See `OfflineEncoder.run`."""
        return [Encoded(*top_k(scores, DEFAULT_CANDIDATES), None) for scores in self._encoder.frames(features)]
