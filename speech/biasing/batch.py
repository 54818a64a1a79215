"""Many hypotheses of one bias at once: what numpy searches call, as compiled ones call `steps.py` directly."""
# mypy: disable-error-code="no-untyped-def"

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech.biasing.bias import Bias
from speech.biasing.steps import close_bias, open_bias, step_bias
from speech.compiling import checksum, compile_ahead

_ADVANCE = "void(int64[::1], int32[:,::1], int32[::1], float64[:,::1], int32[:,::1])"
_FINISH = "void(int64[::1], int32[:,::1], float64[:,::1])"


def _build(stamp: int) -> tuple[Any, Any]:
    """Compile the entry points, with `stamp` in their cache keys."""

    def advance(handle, states, tokens, gains, after):
        assert stamp >= 0
        bias = open_bias(handle)
        for n in range(len(tokens)):
            gains[n, 0], gains[n, 1] = step_bias(bias, states[n], tokens[n], after[n])

    def finish(handle, states, gains):
        assert stamp >= 0
        bias = open_bias(handle)
        for n in range(len(states)):
            gains[n, 0], gains[n, 1] = close_bias(bias, states[n])

    return compile_ahead(_ADVANCE, advance), compile_ahead(_FINISH, finish)


_advance, _finish = _build(checksum([Path(__file__).parent / "steps.py"]))


def advance_bias(
    bias: Bias, states: NDArray[np.int32], tokens: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Give each hypothesis (states (N, NUM_STATES)) its token (N,); return gains (N, 2) and the states after it.

    Gains are hotwords and language model, natural logs. Tokens must be of the bias's token table, and none that writes
    nothing.
    """
    gains = np.zeros((len(tokens), 2))
    after = np.empty((len(tokens), states.shape[1]), np.int32)
    _advance(bias.handle, np.ascontiguousarray(states), np.ascontiguousarray(tokens, np.int32), gains, after)
    return gains, after


def finish_bias(bias: Bias, states: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return what ending a segment here adds to each hypothesis: gains (N, 2), hotwords and language model."""
    gains = np.zeros((len(states), 2))
    _finish(bias.handle, np.ascontiguousarray(states), gains)
    return gains
