"""Caches by slot: rows go where they belong, whatever axis the graph batches on."""

from __future__ import annotations

import numpy as np
import pytest

from engines.description import StateTensor
from engines.state import SlotArrays

FIRST = StateTensor(name="a", output="r_a", shape=(1, 3), batch_axis=0, dtype="float32")
MIDDLE = StateTensor(name="b", output="r_b", shape=(2, 1, 4), batch_axis=1, dtype="float16")
LAST = StateTensor(name="c", output="r_c", shape=(2, 2, 1), batch_axis=2, dtype="int64")


@pytest.mark.parametrize("tensor", [FIRST, MIDDLE, LAST])
def test_scattered_rows_are_gathered_again_in_any_order(tensor: StateTensor) -> None:
    state = SlotArrays([tensor], num_slots=6, max_batch=4)
    rng = np.random.default_rng(0)
    slots = [5, 0, 3]
    batch = state.output_buffers(3)[tensor.output]
    assert batch.flags.c_contiguous
    batch[...] = rng.integers(1, 100, batch.shape)
    expected = np.moveaxis(batch, tensor.batch_axis, 0).copy()
    state.scatter(slots, {tensor.output: batch, "other": batch})
    gathered = state.gather([3, 5])[tensor.name]
    assert gathered.flags.c_contiguous
    assert gathered.dtype == np.dtype(tensor.dtype)
    np.testing.assert_array_equal(np.moveaxis(gathered, tensor.batch_axis, 0), expected[[2, 0]])
    assert not state.gather([1, 2])[tensor.name].any()


def test_zeroed_rows_leave_their_neighbours_alone() -> None:
    state = SlotArrays([FIRST, MIDDLE], num_slots=3, max_batch=3)
    outputs = state.output_buffers(3)
    for value in outputs.values():
        value[...] = 7
    state.scatter([0, 1, 2], outputs)
    state.zero([1])
    assert not state.row("a", 1).any()
    assert not state.row("b", 1).any()
    assert (state.row("a", 0) == 7).all()
    assert (state.row("b", 2) == 7).all()


@pytest.mark.parametrize("slot", [-1, 3])
def test_slot_outside_is_refused(slot: int) -> None:
    state = SlotArrays([FIRST], num_slots=3, max_batch=1)
    with pytest.raises(IndexError, match=rf"slot {slot} given, 0 to 2 exist"):
        state.gather([slot])
    with pytest.raises(IndexError):
        state.zero([slot])
    with pytest.raises(IndexError):
        state.scatter([slot], state.output_buffers(1))
