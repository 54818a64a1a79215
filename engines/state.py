"""Encoder caches of all streams by slot. Which stream has which slot is the batcher's business."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.description import StateTensor
from engines.ort import Array


class StepBuffer:
    """Memory for one tensor of a step, lent as a contiguous array of whatever batch the step has."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[np.generic], batch_axis: int, max_batch: int) -> None:
        """`shape` is that of one row, with 1 at `batch_axis`."""
        self._shape = shape
        self._axis = batch_axis
        self._row = int(np.prod(shape))
        self._memory: Array = np.zeros(self._row * max_batch, dtype)

    def view(self, rows: int) -> Array:
        """Return the buffer as a batch of `rows`; the same memory each time."""
        shape = (*self._shape[: self._axis], rows, *self._shape[self._axis + 1 :])
        return self._memory[: self._row * rows].reshape(shape)


class SlotArrays:
    """One array (slots, ...) per state tensor, gathered into and scattered from batches in the graph's layout.

    A row costs its memory whether it is used or not. Engine thread only; lives as long as its engine.
    """

    def __init__(self, tensors: Sequence[StateTensor], num_slots: int, max_batch: int) -> None:
        """Allocate `num_slots` zeroed rows and buffers for steps of up to `max_batch` rows."""
        self.num_slots = num_slots
        self._tensors = tuple(tensors)
        self._rows: dict[str, Array] = {}
        self._inputs: dict[str, StepBuffer] = {}
        self._outputs: dict[str, StepBuffer] = {}
        for tensor in tensors:
            dtype = np.dtype(tensor.dtype)
            inner = tensor.shape[: tensor.batch_axis] + tensor.shape[tensor.batch_axis + 1 :]
            # Zeroed pages that no stream has touched yet take no memory, so unused slots are free at first.
            self._rows[tensor.name] = np.zeros((num_slots, *inner), dtype)
            self._inputs[tensor.name] = StepBuffer(tensor.shape, dtype, tensor.batch_axis, max_batch)
            self._outputs[tensor.output] = StepBuffer(tensor.shape, dtype, tensor.batch_axis, max_batch)

    def gather(self, slots: Sequence[int]) -> dict[str, Array]:
        """Return the rows of `slots` as one batch, by input name, in that order; a lone row lies where it is kept.

        The arrays are contiguous, to be read only, and stay valid until the next `gather` or `scatter`. Raises
        IndexError for a slot outside.
        """
        if len(slots) == 1:  # copying a hundred small tensors would take a tenth of a small graph's time
            return {tensor.name: self.row(tensor.name, slots[0]).reshape(tensor.shape) for tensor in self._tensors}
        batch = {tensor.name: self._inputs[tensor.name].view(len(slots)) for tensor in self._tensors}
        for tensor in self._tensors:
            rows, by_row = self._rows[tensor.name], np.moveaxis(batch[tensor.name], tensor.batch_axis, 0)
            for index, slot in enumerate(slots):
                by_row[index] = rows[self._checked(slot)]
        return batch

    def output_buffers(self, rows: int) -> dict[str, Array]:
        """Return memory for the next states of a batch of `rows`, by output name, for the graph to write into."""
        return {tensor.output: self._outputs[tensor.output].view(rows) for tensor in self._tensors}

    def scatter(self, slots: Sequence[int], outputs: dict[str, Array]) -> None:
        """Copy the next states of a step back to the rows of `slots`; `outputs` is by output name and may hold more."""
        for tensor in self._tensors:
            rows, by_row = self._rows[tensor.name], np.moveaxis(outputs[tensor.output], tensor.batch_axis, 0)
            for index, slot in enumerate(slots):
                rows[self._checked(slot)] = by_row[index]

    def zero(self, slots: Sequence[int]) -> None:
        """Set the rows of `slots` to zero, as a stream finds them at its start."""
        for slot in slots:
            for rows in self._rows.values():
                rows[self._checked(slot)] = 0

    def row(self, name: str, slot: int) -> Array:
        """Return one slot's row of the input `name`, as a view."""
        view: Array = self._rows[name][self._checked(slot)]
        return view

    def _checked(self, slot: int) -> int:
        # A negative index would silently be another stream's row.
        if not 0 <= slot < self.num_slots:
            raise IndexError(f"slot {slot} given, 0 to {self.num_slots - 1} exist")
        return slot
