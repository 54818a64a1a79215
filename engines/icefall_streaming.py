"""Streaming encoders of icefall's families: gather the slots' states, run the graph once, scatter the next states."""

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


class IcefallStreamingEncoder:
    """Owns the graph and every stream's states. Engine thread only; lives as long as its engine.

    As in `WenetStreamingEncoder`, the graph reads and writes memory that is allocated once.
    """

    def __init__(self, spec: StreamingSpec, num_slots: int, max_batch: int, options: OrtOptions) -> None:
        """Load the graph and allocate `num_slots` streams. Raises BadModel."""
        assert spec.names is not None, "the families of icefall are described with their names"
        self.spec = spec
        self.num_slots = num_slots
        self.batch_limit = max_batch if spec.is_batchable else 1
        self._names = spec.names
        self._model = OrtModel(spec.encoder, options, _rewritten(spec, options))
        self._state = SlotArrays(spec.states, num_slots, self.batch_limit)
        shape = (1, spec.window_frames, spec.num_bins)
        self._features = StepBuffer(shape, np.dtype(spec.float_type), 0, self.batch_limit)
        self._past = np.zeros(num_slots, np.int64)  # frames before each slot's next chunk, as the counter counts
        self._frames_a_step = spec.chunk * (spec.subsampling if spec.counts_features else 1)

    def step(self, slots: Sequence[int], features: FloatArray, reset: Sequence[bool]) -> FloatArray:
        """Advance each slot by one window (batch, window, bins); return (batch, frames, size) float32.

        A row with `reset` starts anew; a row's output does not depend on its neighbours, but for rounding. The array
        is valid until the next step. Raises EngineFailed.
        """
        again = [slot for slot, asked in zip(slots, reset, strict=True) if asked]
        self._state.zero(again)
        self._past[again] = 0
        feeds = self._state.gather(slots)
        feeds[self._names.features] = self._features.view(len(slots))
        np.copyto(feeds[self._names.features], features, casting="same_kind")
        if self._names.lengths is not None:
            feeds[self._names.lengths] = self._integers(self._names.lengths, np.full(len(slots), features.shape[1]))
        if self._names.counter is not None:
            feeds[self._names.counter] = self._integers(self._names.counter, self._past[list(slots)])
        outputs = self._run(feeds, self._state.output_buffers(len(slots)))
        self._state.scatter(slots, outputs)
        self._past[list(slots)] += self._frames_a_step
        return outputs[self._names.out].astype(np.float32, copy=False)

    def num_out(self, num_frames: IntArray, made: int) -> IntArray:
        """Return how many of the `made` frames of each row count, given its valid feature frames."""
        if self.spec.partial_frames == "all":
            return np.where(num_frames > 0, made, 0).astype(np.int32)
        return np.minimum(frames_out(self.spec, num_frames), made)

    def _integers(self, name: str, values: Array) -> Array:
        return values.astype(self._model.inputs[name].dtype)

    def _run(self, feeds: dict[str, Array], states: dict[str, Array]) -> dict[str, Array]:
        """Run with the inputs as they lie; next states go into `states`, the result into memory of the runtime's."""
        binding: Any = self._model.session.io_binding()
        for name, value in feeds.items():
            binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        for name, value in states.items():
            binding.bind_output(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        binding.bind_output(self._names.out, "cpu")
        try:
            self._model.session.run_with_iobinding(binding)
        except Exception as error:  # the runtime's error classes share no public base
            rows = len(feeds[self._names.features])
            raise EngineFailed(f"{self.spec.encoder.name} failed on a batch of {rows}: {first_line(error)}") from error
        return {**states, self._names.out: binding.get_outputs()[-1].numpy()}


def _rewritten(spec: StreamingSpec, options: OrtOptions) -> bytes | None:
    """Return a cheaper graph for the CPU, None for the file as it is."""
    if not (options.rewrite and spec.is_batchable and options.provider == "CPUExecutionProvider"):
        return None
    from engines.convert.depthwise import as_products  # onnx takes half a second to import

    return as_products(spec.encoder)


class IcefallCtcEncoder:
    """Streaming K3 as a StreamingEncoder: the best tokens of each frame."""

    def __init__(self, encoder: IcefallStreamingEncoder) -> None:
        """Take over `encoder`."""
        self._encoder = encoder
        self.num_slots = encoder.num_slots
        self.batch_limit = encoder.batch_limit

    def step(
        self, slots: Sequence[int], features: FloatArray, num_frames: IntArray, reset: Sequence[bool]
    ) -> EncoderOutput:
        """See `StreamingEncoder.step`."""
        log_probs = self._encoder.step(slots, features, reset)
        values, ids = top_k(log_probs, DEFAULT_CANDIDATES)
        return EncoderOutput(values, ids, None, self._encoder.num_out(num_frames, log_probs.shape[1]))

    def close_slot(self, slot: int) -> None:
        """See `StreamingEncoder.close_slot`: rows are fixed here, so there is nothing to free."""
