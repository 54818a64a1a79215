"""Many hypotheses of one bias at once: what numpy searches call, as compiled ones call `steps.py` directly."""
# mypy: disable-error-code="no-untyped-def"

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech.biasing.steps import NUM_STATES, close_bias, open_bias, step_bias
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


_advance, _finish = _build(checksum(Path(__file__).parent / name for name in ("steps.py", "hashed_steps.py")))


def advance(
    handle: NDArray[np.int64], states: NDArray[np.int32], tokens: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """See `Bias.advance`."""
    gains = np.zeros((len(tokens), 2))
    after = np.empty((len(tokens), NUM_STATES), np.int32)
    _advance(handle, np.ascontiguousarray(states, np.int32), np.ascontiguousarray(tokens, np.int32), gains, after)
    return gains, after


def finish(handle: NDArray[np.int64], states: NDArray[np.int32]) -> NDArray[np.float64]:
    """See `Bias.finish`."""
    gains = np.zeros((len(states), 2))
    _finish(handle, np.ascontiguousarray(states, np.int32), gains)
    return gains
