"""Graphs that share a weight file compute what they computed before."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from recipes.u2pp.share_weights import share

SHARED = np.random.default_rng(1).standard_normal((40, 40)).astype(np.float32)
SMALL = np.arange(40, dtype=np.float32)


def write_graph(path: Path, own: np.ndarray) -> None:
    nodes = [helper.make_node("MatMul", ["x", "shared"], ["a"]), helper.make_node("MatMul", ["a", "own"], ["b"])]
    nodes.append(helper.make_node("Add", ["b", "small"], ["y"]))
    arrays = {"shared": SHARED, "own": own, "small": SMALL}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 40]) for name in "xy"]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def outputs(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.eye(3, 40, dtype=np.float32)})[0]


def test_results_stay_and_equal_arrays_are_stored_once(tmp_path: Path) -> None:
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for number, path in enumerate(paths):
        write_graph(path, SHARED + 1 + number)
    before = [outputs(path) for path in paths]
    share(paths, tmp_path / "weights.bin")
    for path, expected in zip(paths, before, strict=True):
        np.testing.assert_array_equal(outputs(path), expected)
    assert (tmp_path / "weights.bin").stat().st_size == 3 * SHARED.nbytes  # the common one and one of each
    assert max(path.stat().st_size for path in paths) < SHARED.nbytes


def test_a_weight_file_in_another_folder_is_refused(tmp_path: Path) -> None:
    write_graph(tmp_path / "a.onnx", SHARED)
    with pytest.raises(ValueError, match=r"out of a graph's folder.*weights\.bin"):
        share([tmp_path / "a.onnx"], tmp_path / "elsewhere" / "weights.bin")
