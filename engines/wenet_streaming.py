"""W2, the batched streaming encoder: gather the slots' states, run the graph once, scatter the next states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.description import StreamingSpec
from engines.encoder import EncoderOutput, FloatArray, IntArray, frames_out
from engines.errors import EngineFailed
from engines.ort import Array, OrtModel, OrtOptions, first_line
from engines.state import SlotArrays, StepBuffer
from engines.topk import DEFAULT_CANDIDATES, top_k


class WenetStreamingEncoder:
    """Owns the graph and every stream's caches. Engine thread only; lives as long as its engine.

    The graph reads and writes memory that is allocated once: with fresh output arrays each step, the system's page
    faults on tens of megabytes cost more than the copies do.
    """

    def __init__(self, spec: StreamingSpec, num_slots: int, max_batch: int, options: OrtOptions) -> None:
        """Load the graph and allocate `num_slots` streams. Raises BadModel."""
        self.spec = spec
        self.num_slots = num_slots
        self.batch_limit = max_batch if spec.is_batchable else 1
        self._model = OrtModel(spec.encoder, options)
        self._state = SlotArrays(spec.states, num_slots, self.batch_limit)
        half = np.dtype(spec.float_type)
        self._features = StepBuffer((1, spec.window_frames, spec.num_bins), half, 0, self.batch_limit)
        self._results = [
            name for name in ("log_probs", "log_probs_idx", "ctc_log_probs") if name in self._model.outputs
        ]
        self._positions = np.zeros(num_slots, np.int64)  # encoder frames since each slot's last restart

    def step(
        self, slots: Sequence[int], features: FloatArray, num_frames: IntArray, reset: Sequence[bool]
    ) -> EncoderOutput:
        """See `StreamingEncoder.step`. A slot at the end of the position table restarts, lest its neighbours fail."""
        self._state.zero([slot for slot, asked in zip(slots, reset, strict=True) if asked or self._is_full(slot)])
        for slot, asked in zip(slots, reset, strict=True):
            if asked or self._is_full(slot):
                self._positions[slot] = 0
        feeds = self._state.gather(slots)
        feeds["chunk_xs"] = self._features.view(len(slots))
        np.copyto(feeds["chunk_xs"], features, casting="same_kind")
        feeds["chunk_lens"] = num_frames.astype(self._model.inputs["chunk_lens"].dtype)
        outputs = self._run(feeds, self._state.output_buffers(len(slots)))
        self._state.scatter(slots, outputs)
        self._positions[list(slots)] += self.spec.chunk
        log_probs, ids = self._candidates(outputs)
        encoder_out = outputs["chunk_out"].astype(np.float32, copy=False)
        return EncoderOutput(log_probs, ids, encoder_out, frames_out(self.spec, num_frames))

    def close_slot(self, slot: int) -> None:
        """See `StreamingEncoder.close_slot`: rows are fixed here, so there is nothing to free."""

    def _is_full(self, slot: int) -> bool:
        limit = self.spec.position_limit_frames
        return limit is not None and self._positions[slot] + self.spec.chunk > limit

    def _run(self, feeds: dict[str, Array], states: dict[str, Array]) -> dict[str, Array]:
        """Run with the inputs as they lie; next states go into `states`, results into memory of the runtime's."""
        binding: Any = self._model.session.io_binding()
        for name, value in feeds.items():
            if name in self._model.inputs:
                binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        for name, value in states.items():
            binding.bind_output(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        results = [*self._results, "chunk_out"]
        for name in results:
            binding.bind_output(name, "cpu")
        try:
            self._model.session.run_with_iobinding(binding)
        except Exception as error:  # the runtime's error classes share no public base
            raise EngineFailed(
                f"{self.spec.encoder.name} failed on a batch of {len(feeds['chunk_lens'])}: {first_line(error)}"
            ) from error
        values = binding.get_outputs()[len(states) :]
        return {**states, **{name: value.numpy() for name, value in zip(results, values, strict=True)}}

    def _candidates(self, outputs: dict[str, Array]) -> tuple[FloatArray, IntArray]:
        if "ctc_log_probs" in outputs:
            return top_k(outputs["ctc_log_probs"], DEFAULT_CANDIDATES)
        return outputs["log_probs"].astype(np.float32), outputs["log_probs_idx"].astype(np.int32)
