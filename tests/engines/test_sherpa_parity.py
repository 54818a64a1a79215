"""The same files through sherpa-onnx: equal tokens, times equal to a frame. All recordings: `benchmarks.parity`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks.parity import METHODS, compare
from tests.engines.helpers import noise

pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed (dev extra)")

MODELS = Path(__file__).parents[1] / "data" / "models"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["k2", "k4", "k5", "k1", "k6"])
def test_sherpa_onnx_says_the_same(name, method):
    audio = [(f"noise {seed}", noise(1.0 + 0.37 * seed, seed)) for seed in range(5)]
    compared = list(compare(MODELS / name, method, iter(audio)))
    assert sum(len(other.pieces) for _, _, other, _ in compared) > 20, "a model that says nothing proves nothing"
    assert [(title, one, other) for title, one, other, agrees in compared if not agrees] == []
    assert all(np.diff(one.times).min(initial=0) >= 0 for _, one, _, _ in compared)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_sherpa_onnx_hears_whisper_s_features_the_same(method, tmp_path):
    """The tiny model with the metadata and its input scaled for such features."""
    for path in (MODELS / "k2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = next(tmp_path.glob("encoder*.onnx"))
    model = onnx.load(path)
    helper.set_model_props(model, {e.key: e.value for e in model.metadata_props} | {"feature": "whisper"})
    scaled = helper.make_node("Mul", ["x", "eight"], ["louder"])
    shifted = helper.make_node("Sub", ["louder", "eight"], ["as_logs"])
    for node in model.graph.node:
        node.input[:] = ["as_logs" if name == "x" else name for name in node.input]
    model.graph.initializer.append(helper.make_tensor("eight", onnx.TensorProto.FLOAT, [], [8.0]))
    for node in (shifted, scaled):
        model.graph.node.insert(0, node)
    onnx.save(model, path)
    audio = [(f"noise {seed}", noise(1.0 + 0.37 * seed, seed)) for seed in range(5)]
    compared = list(compare(tmp_path, method, iter(audio)))
    assert sum(len(other.pieces) for _, _, other, _ in compared) > 20, "a model that says nothing proves nothing"
    assert [(title, one, other) for title, one, other, agrees in compared if not agrees] == []
