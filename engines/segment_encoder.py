"""Segments encoded anew by the offline half's encoder, which sees both sides of every frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.description import OfflineSpec
from engines.encoder import FloatArray
from engines.errors import EngineFailed
from engines.offline import OfflineEncoder
from speech.framing import frames_encoded
from speech.search.pauses import loudness

LONGEST = 2
"""Times a piece's intended length that is encoded at once: attention's time and memory grow with the square, and where
no word is heard a piece may be minutes long."""


class SegmentEncoder:
    """What a second pass with full context reads. Shares the offline half's encoder; any thread."""

    def __init__(self, encoder: OfflineEncoder, spec: OfflineSpec, max_frames: int) -> None:
        """`max_frames` encoder frames are a piece's intended length."""
        self._encoder = encoder
        self._subsampling, self._context = spec.subsampling, spec.context
        self._longest = LONGEST * max_frames

    def num_frames(self, num_features: int) -> int:
        """Encoder frames of so many feature frames."""
        return frames_encoded(num_features, self._subsampling, self._context)

    def loudness(self, features: FloatArray) -> FloatArray:
        """How loud each encoder frame of features (n, bins) is, (frames,) natural logs of energy."""
        return loudness(features, self._subsampling, self.num_frames(len(features)))

    def run(self, features: FloatArray, pieces: Sequence[tuple[int, int]]) -> FloatArray:
        """Return encoder output (frames, dim) of features (n, bins); each piece, in encoder frames, is heard alone.

        Raises EngineFailed.
        """
        parts = [
            self._encoded(features, start, min(start + self._longest, end))
            for begin, end in pieces
            for start in range(begin, end, self._longest)
        ]
        return np.concatenate(parts)

    def _encoded(self, features: FloatArray, begin: int, end: int) -> FloatArray:
        rows = features[begin * self._subsampling : (end - 1) * self._subsampling + self._context]
        (encoded,) = self._encoder.run([rows])
        if encoded.encoder_out is None or len(encoded.encoder_out) != end - begin:
            raise EngineFailed(f"the offline encoder made of {len(rows)} feature frames not the {end - begin} expected")
        return encoded.encoder_out
