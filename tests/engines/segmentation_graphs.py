"""A tiny graph with the tensors of pyannote segmentation, whose answer is how loud a frame is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

QUIET, LOUD = 0.01, 0.2  # mean amplitude of one speaker at least, and of two


def by_loudness(path: Path, loud: float = LOUD, **metadata: str) -> None:
    """Nobody below QUIET, local speaker 1 up to `loud`, local speakers 1 and 2 above."""
    slopes = np.zeros((1, 7), np.float32)
    offsets = np.full(7, -1000, np.float32)
    # Three straight lines: 0, one that passes it at QUIET, and one twice as steep that passes that at `loud`.
    slopes[0, 1], slopes[0, 4] = 1000, 2000
    offsets[0], offsets[1], offsets[4] = 0, -1000 * QUIET, -1000 * (QUIET + loud)
    node = helper.make_node
    nodes = [
        node("Abs", ["x"], ["loudness"]),
        node("AveragePool", ["loudness"], ["pooled"], kernel_shape=[991], strides=[270]),
        node("Transpose", ["pooled"], ["frames"], perm=[0, 2, 1]),
        node("MatMul", ["frames", "slopes"], ["scaled"]),
        node("Add", ["scaled", "offsets"], ["logits"]),
        node("LogSoftmax", ["logits"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "segmentation",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "samples"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "frames", 7])],
        [numpy_helper.from_array(slopes, "slopes"), numpy_helper.from_array(offsets, "offsets")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
