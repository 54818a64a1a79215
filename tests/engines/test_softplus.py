"""Softplus in fewer passes: the same numbers, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.convert.softplus import simplify_softplus


def model(*, distance: bool = True, one: float = 1.0, zero: float = 0.0, leak: bool = False) -> onnx.ModelProto:
    """z -> max(z, 0) + log(1 + exp(-|0 - z|)) as torch exports icefall's logaddexp, or something like it."""
    nodes = [
        helper.make_node("Max", ["zero", "z"], ["top"]),
        helper.make_node("Abs", ["distance" if distance else "z"], ["abs"]),
        helper.make_node("Neg", ["abs"], ["neg"]),
        helper.make_node("Exp", ["neg"], ["exp"]),
        helper.make_node("Add", ["exp", "one"], ["sum"]),
        helper.make_node("Log", ["sum"], ["log"]),
        helper.make_node("Add", ["top", "log"], ["out"]),
    ]
    if distance:
        nodes.insert(1, helper.make_node("Sub", ["zero", "z"], ["distance"]))
    outputs = ["out", "exp"] if leak else ["out"]
    constants = {"zero": zero, "one": one}
    graph = helper.make_graph(
        nodes,
        "softplus",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in outputs],
        [numpy_helper.from_array(np.float32(value).reshape(()), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(given: onnx.ModelProto, z: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(given.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["out"], {"z": z})[0]
    return found


@pytest.mark.parametrize("distance", [True, False])
def test_softplus_is_the_same_in_five_operators(distance: bool) -> None:
    rewritten = model(distance=distance)
    assert simplify_softplus(rewritten.graph) == 1
    assert [node.op_type for node in rewritten.graph.node] == ["Relu", "Abs", "Sigmoid", "Log", "Sub"]
    z = np.concatenate([np.linspace(-30, 30, 100001), [-1e30, -88.0, 0.0, 88.0, 1e30]]).astype(np.float32)
    expected = np.logaddexp(0.0, z.astype(np.float64))
    np.testing.assert_allclose(run(rewritten, z), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(run(rewritten, z), run(model(distance=distance), z), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("other", [{"one": 2.0}, {"zero": 0.5}, {"leak": True}])
def test_what_only_looks_like_it_is_left_alone(other: dict[str, float]) -> None:
    given = model(**other)  # type: ignore[arg-type]
    assert simplify_softplus(given.graph) == 0
    assert given == model(**other)  # type: ignore[arg-type]
