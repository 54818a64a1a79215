"""Pieces of audio to vectors through the dynamic batcher: several small runs side by side, never padded with zeros."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from batcher.config import DynamicConfig
from batcher.dynamic import DynamicBatcher
from engines.errors import EngineError
from engines.speaker.engine import Embedder
from engines.speaker.lengths import repeat_to
from server.config import SpeakerConfig
from speech.audio import Samples
from speech.errors import AudioTooShort, SpeechError
from speech.features import Features
from speech.verification.vectors import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class PieceVector:
    """The vector of one piece, (dimension,) float32, and the share of the network's input that was repetition."""

    vector: Vectors
    filled_share: float


class PieceBatcher:
    """Owned by its model. `embed` on the event loop only; the engine runs on `workers` threads of the executor."""

    def __init__(
        self,
        engine: Embedder,
        config: SpeakerConfig,
        executor: Executor,
        workers: int,
        fixed_frames: int | None = None,
    ) -> None:
        """`fixed_frames`: the only length that the graph takes; shorter pieces are then repeated up to it."""
        self._engine = engine
        self._fixed_frames = fixed_frames
        self._max_fill = config.max_fill if config.batching == "fill" else 0.0
        self.batcher: DynamicBatcher[Samples, PieceVector | Exception] = DynamicBatcher(
            self._run,
            DynamicConfig(
                max_batch_size=config.max_batch_size,
                preferred_batch_sizes=config.preferred_batch_sizes,
                max_queue_delay_ms=config.max_queue_delay_ms,
                max_queue_size=config.max_queue_size,
                buckets=tuple(int(seconds * engine.sample_rate) for seconds in config.bucket_seconds),
                # One more than threads: a thread that ends a piece finds its next one without asking the event loop.
                workers=workers + 1,
            ),
            executor,
        )

    async def embed(self, samples: Samples) -> PieceVector:
        """Embed one piece, (n,) samples at the model's rate, with whatever else is waiting.

        Raises AudioTooShort before anything is queued; Overloaded, BatchFailed, and what the engine says of this piece.
        """
        if len(samples) < self._engine.min_samples:
            raise too_short(len(samples), self._engine)
        result = await self.batcher.submit(samples, length=len(samples))
        if isinstance(result, Exception):
            raise result
        return result

    def _run(self, pieces: list[Samples]) -> list[PieceVector | Exception]:
        """On a worker: a piece that fails is its own caller's failure, not that of its neighbours."""
        results: list[PieceVector | Exception] = [EngineError("not run")] * len(pieces)
        features: dict[int, Features] = {}
        for index, samples in enumerate(pieces):
            try:
                features[index] = self._engine.features(samples)
            except SpeechError as error:
                results[index] = error
        for group in fill_groups({index: len(frames) for index, frames in features.items()}, self._max_fill):
            for index, result in zip(group, self._group([features[index] for index in group]), strict=True):
                results[index] = result
        return results

    def _group(self, features: Sequence[Features]) -> list[PieceVector | Exception]:
        """One group, its longest first; all brought to the longest one's frames, or to those the graph wants."""
        longest = self._fixed_frames or len(features[0])
        try:
            vectors = self._engine.embed([repeat_to(frames, longest) for frames in features])
        except EngineError as error:
            if len(features) == 1:
                return [error]
            return [result for frames in features for result in self._group([frames])]
        return [
            PieceVector(vector, 1 - len(frames) / longest) for vector, frames in zip(vectors, features, strict=True)
        ]


def fill_groups(lengths: dict[int, int], max_fill: float) -> list[list[int]]:
    """Group indices by frame count, longest first: nobody is filled by more than `max_fill` of the longest.

    With 0 only equal lengths share a group.
    """
    groups: list[list[int]] = []
    for index in sorted(lengths, key=lambda each: -lengths[each]):
        longest = lengths[groups[-1][0]] if groups else 0
        if groups and lengths[index] >= longest * (1 - max_fill):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def too_short(num_samples: int, engine: Embedder) -> AudioTooShort:
    """Say how much audio there is and how much a voice needs."""
    rate = engine.sample_rate
    return AudioTooShort(
        f"{num_samples} samples of audio ({num_samples / rate * 1000:.0f} ms) to embed; model {engine.name} needs at "
        f"least {engine.min_samples} ({engine.min_samples / rate * 1000:.0f} ms at {rate} Hz)"
    )
