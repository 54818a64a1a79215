"""W3 and streaming W4: one stream per run, states as the graph returned them, the last window at its true length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.description import StreamingSpec
from engines.encoder import EncoderOutput, FloatArray, IntArray, frames_out
from engines.families.wenet_cpu import W3, W4
from engines.ort import Array, OrtModel, OrtOptions
from engines.topk import DEFAULT_CANDIDATES, top_k


@dataclass(slots=True)
class _Stream:
    """One slot: its caches by input name and the position of its next frame."""

    states: dict[str, Array]
    offset: int


class WenetCpuEncoder:
    """Owns the graphs and every stream's caches. Engine thread only; lives as long as its engine."""

    def __init__(self, spec: StreamingSpec, num_slots: int, options: OrtOptions) -> None:
        """Load the graphs. Raises BadModel."""
        self.spec = spec
        self.num_slots = num_slots
        self.batch_limit = 1
        self._names = W3 if spec.family == "W3" else W4
        self._encoder = OrtModel(spec.encoder, options)
        self._ctc = OrtModel(spec.ctc, options) if spec.ctc is not None else None
        self._streams: dict[int, _Stream] = {}
        self._cache_frames = spec.chunk * max(spec.left_chunks, 0)
        # W4's exporter fixes [1]-shaped numbers where WeNet's has scalars.
        self._number_shape = (1,) if spec.family == "W4" else ()

    def step(
        self, slots: Sequence[int], features: FloatArray, num_frames: IntArray, reset: Sequence[bool]
    ) -> EncoderOutput:
        """See `StreamingEncoder.step`; more than one row is run one by one."""
        rows = [
            self._one(slot, features[index], int(num_frames[index]), reset[index]) for index, slot in enumerate(slots)
        ]
        count = min(DEFAULT_CANDIDATES, self.spec.vocab_size or DEFAULT_CANDIDATES)
        log_probs = np.zeros((len(rows), self.spec.chunk, count), np.float32)
        ids = np.zeros((len(rows), self.spec.chunk, count), np.int32)
        has_output = self.spec.output_size is not None
        encoder_out = np.zeros((len(rows), self.spec.chunk, self.spec.output_size or 0), np.float32)
        num_out = frames_out(self.spec, num_frames)
        for index, (scores, hidden) in enumerate(rows):
            frames = min(len(scores), self.spec.chunk)
            log_probs[index, :frames], ids[index, :frames] = top_k(scores[:frames], count)
            num_out[index] = min(int(num_out[index]), frames)
            if has_output and hidden is not None:
                encoder_out[index, :frames] = hidden[:frames]
        return EncoderOutput(log_probs, ids, encoder_out if has_output else None, num_out)

    def close_slot(self, slot: int) -> None:
        """See `StreamingEncoder.close_slot`: a cache of all the past grows with its stream, so this matters."""
        self._streams.pop(slot, None)

    def _one(self, slot: int, features: FloatArray, num_frames: int, reset: bool) -> tuple[Array, Array | None]:
        """Run one stream's window, return its log-probs (frames, vocab) and encoder output (frames, dim)."""
        if not 0 <= slot < self.num_slots:
            raise IndexError(f"slot {slot} given, 0 to {self.num_slots - 1} exist")
        if num_frames < self.spec.context and not self._is_fixed():
            num_frames = self.spec.context  # fewer would fail the convolutions; such frames see padding
        stream = self._streams.get(slot)
        if stream is None or reset or self._is_full(stream):
            stream = self._streams[slot] = self._new_stream()
        window = features if self._is_fixed() else features[:num_frames]
        outputs = self._encoder.run(self._feeds(stream, np.ascontiguousarray(window[np.newaxis])))
        output = outputs[self._names.output]
        stream.offset += output.shape[1]
        for state in self.spec.states:
            stream.states[state.name] = outputs[state.output]
        if self._ctc is None:
            return output[0], None
        return self._ctc.run({"hidden": output})["probs"][0], output[0]

    def _is_fixed(self) -> bool:
        """Whether the graph insists on whole windows."""
        return self._encoder.inputs[self._names.features].size(1) is not None

    def _is_full(self, stream: _Stream) -> bool:
        limit = self.spec.position_limit_frames
        return limit is not None and stream.offset - self.spec.first_offset + self.spec.chunk > limit

    def _new_stream(self) -> _Stream:
        states: dict[str, Array] = {state.name: np.zeros(state.shape, np.float32) for state in self.spec.states}
        return _Stream(states, self.spec.first_offset)

    def _feeds(self, stream: _Stream, features: Array) -> dict[str, Array]:
        required = -1 if self.spec.left_chunks < 0 else self._cache_frames
        return {
            self._names.features: features,
            "offset": np.full(self._number_shape, stream.offset, np.int64),
            "required_cache_size": np.full(self._number_shape, required, np.int64),
            self._names.mask: self._mask(stream.offset),
            **stream.states,
        }

    def _mask(self, offset: int) -> Array:
        """Hide the part of the cache that is still empty; it fills from the right."""
        mask = np.ones((1, 1, self._cache_frames + self.spec.chunk), np.bool_)
        decoded = offset - self.spec.first_offset
        mask[..., : max(0, self._cache_frames - decoded)] = False
        return mask
