"""A speaker model that runs: feature arrays in, embeddings out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engines.errors import EngineFailed
from engines.ort import OrtOptions
from engines.speaker.description import SpeakerDescription
from engines.speaker.lengths import equal_lengths
from engines.speaker.network import open_network
from speech.audio import Samples
from speech.features import Features
from speech.speaker import SpeakerFrontEnd

Embeddings = npt.NDArray[np.float32]
"""(n, dimension) float32 as the model gives them: not of unit length."""

DEFAULT_BATCH = 4
"""Rows per run: on processors larger batches are slower per row (docs/benchmarks.md)."""


class Embedder(Protocol):
    """What services and diarization need of a speaker model; `SpeakerEngine` is one, tests bring others."""

    @property
    def name(self) -> str: ...
    @property
    def network(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def front_end(self) -> SpeakerFrontEnd: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def min_samples(self) -> int: ...

    def features(self, samples: Samples) -> Features:
        """Turn (n,) samples at `sample_rate` into (frames, bins). Raises AudioTooShort, BadAudio."""
        ...

    def embed(self, features: Sequence[Features]) -> Embeddings:
        """Turn utterances, each (frames, bins), into (n, dimension), row by row; blocks. Any thread."""
        ...


class SpeakerEngine:
    """Embeds utterances. Immutable after construction: any number of threads may call it at once.

    With one thread inside the graph (the default) concurrent calls run side by side on the callers' threads.
    """

    def __init__(
        self, description: SpeakerDescription, options: OrtOptions | None = None, max_batch: int = DEFAULT_BATCH
    ) -> None:
        """Load the graph. Raises BadModel for a description with problems."""
        description.require_usable()
        self.description = description
        self.max_batch = max_batch if description.is_batchable else 1
        self.front_end = SpeakerFrontEnd(description.fbank, description.subtract_mean, description.min_frames)
        self._network = open_network(description, options or OrtOptions())
        identity = f"{description.identity}/{self.front_end.fingerprint}/{description.dimension}"
        self._fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def network(self) -> str:
        """What runs the graph: "onnxruntime", or "compiled" kernels of ours that compute the same."""
        return self._network.kind

    @property
    def dimension(self) -> int:
        """Numbers of one embedding."""
        return self.description.dimension

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits; embeddings of another fingerprint must not be compared with this model's."""
        return self._fingerprint

    @property
    def threshold(self) -> float:
        """The cosine from which two embeddings count as one voice."""
        return self.description.threshold

    @property
    def sample_rate(self) -> int:
        return self.front_end.config.sample_rate

    @property
    def min_samples(self) -> int:
        """The shortest utterance, in samples."""
        return self.front_end.min_samples

    def features(self, samples: Samples) -> Features:
        """Turn (n,) samples at `sample_rate` into (frames, bins) float32. Raises AudioTooShort, BadAudio."""
        return self.front_end(samples)

    def embed(self, features: Sequence[Features]) -> Embeddings:
        """Turn utterances, each (frames, bins) from `features`, into (n, dimension), row by row.

        Only equal frame counts share a run, as these graphs have no length mask: a row is what it would be alone.
        Raises ValueError for features that the front end cannot have made, EngineFailed.
        """
        self._require_fitting(features)
        embeddings = np.empty((len(features), self.dimension), np.float32)
        for rows in equal_lengths([len(each) for each in features], self.max_batch):
            embeddings[rows] = self._run(np.stack([features[row] for row in rows]))
        return embeddings

    def warm_up(self, frame_counts: Sequence[int]) -> None:
        """Run each length once, at batch 1 and at the largest batch."""
        for count in frame_counts:
            zeros = np.zeros((count, self.description.fbank.num_bins), np.float32)
            for size in {1, self.max_batch}:
                self.embed([zeros] * size)

    def _run(self, batch: npt.NDArray[np.float32]) -> Embeddings:
        description = self.description
        output = self._network.run(batch)
        embeddings = output.reshape(len(batch), -1)
        if embeddings.shape[1] != self.dimension or not np.isfinite(embeddings).all():
            raise EngineFailed(
                f"{description.graph.name} gave embeddings of shape {output.shape} for {batch.shape} features, "
                f"or some that are not finite; expected {self.dimension} finite numbers each"
            )
        return embeddings

    def _require_fitting(self, features: Sequence[Features]) -> None:
        bins, fixed = self.description.fbank.num_bins, self.description.fixed_frames
        for each in features:
            if each.ndim != 2 or each.shape[1] != bins or len(each) < self.front_end.min_frames:
                raise ValueError(
                    f"features of shape {each.shape}; expected ({self.front_end.min_frames} or more, {bins})"
                )
            if fixed is not None and len(each) != fixed:
                raise ValueError(f"features of {len(each)} frames; this graph takes {fixed} only")


def open_speaker(
    description: SpeakerDescription, options: OrtOptions | None = None, max_batch: int = DEFAULT_BATCH
) -> SpeakerEngine:
    """Load a described speaker model; blocks for a fraction of a second. Raises BadModel."""
    return SpeakerEngine(description, options, max_batch)
