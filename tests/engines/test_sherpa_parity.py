"""The same files through sherpa-onnx: equal tokens, times equal to a frame. All recordings: `benchmarks.parity`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity import METHODS, compare
from tests.engines.helpers import noise

pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed (dev extra)")

MODELS = Path(__file__).parents[1] / "data" / "models"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["k2", "k4", "k1"])
def test_sherpa_onnx_says_the_same(name, method):
    audio = [(f"noise {seed}", noise(1.0 + 0.37 * seed, seed)) for seed in range(5)]
    compared = list(compare(MODELS / name, method, iter(audio)))
    assert sum(len(other.pieces) for _, _, other, _ in compared) > 20, "a model that says nothing proves nothing"
    assert [(title, one, other) for title, one, other, agrees in compared if not agrees] == []
    assert all(np.diff(one.times).min(initial=0) >= 0 for _, one, _, _ in compared)
