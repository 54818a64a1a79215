"""What every streaming encoder offers, whatever its graph: one step for a batch of slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engines.description import StreamingSpec

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class EncoderOutput:
    """One step's result: `log_probs` (batch, chunk, k) float32 descending with their `ids` int32.

    `encoder_out` is (batch, chunk, dim) float32, None where the graph keeps it. Of each row the first `num_out` frames
    count. The arrays stay valid until the next step.
    """

    log_probs: FloatArray
    ids: IntArray
    encoder_out: FloatArray | None
    num_out: IntArray


class StreamingEncoder(Protocol):
    """An encoder with a state per slot. All methods on the engine's thread only."""

    num_slots: int
    batch_limit: int

    def step(
        self, slots: Sequence[int], features: FloatArray, num_frames: IntArray, reset: Sequence[bool]
    ) -> EncoderOutput:
        """Advance each slot by one window: features (batch, window, bins) float32 of which `num_frames` are valid.

        A row with `reset` starts anew. A row's output does not depend on its neighbours. At most `batch_limit` rows,
        each slot at most once. Raises EngineFailed.
        """
        ...

    def close_slot(self, slot: int) -> None:
        """Forget a slot's state; what it held in memory beyond its fixed row is freed."""
        ...


def frames_out(spec: StreamingSpec, num_frames: IntArray) -> IntArray:
    """Return how many encoder frames of each row count, by the exact rule or by WeNet's n // subsampling."""
    if spec.partial_frames == "wenet":
        count = num_frames // spec.subsampling
    elif spec.partial_frames == "all":
        count = np.where(num_frames > 0, spec.chunk, 0)
    else:
        context = spec.tail_context or spec.context
        count = np.where(num_frames < context, 0, (num_frames - context) // spec.subsampling + 1)
    return np.minimum(count, spec.chunk).astype(np.int32)
