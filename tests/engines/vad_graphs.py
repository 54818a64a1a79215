"""Tiny graphs with silero-vad's tensors and random weights: the sequence graph and its twin for many streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROW, SIZE = 576, 8
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def _weights() -> list[onnx.TensorProto]:
    rng = np.random.default_rng(3)
    values = {
        "project": rng.standard_normal((ROW, SIZE)) * 0.5,
        "w": rng.standard_normal((1, 4 * SIZE, SIZE)),
        "r": rng.standard_normal((1, 4 * SIZE, SIZE)) * 0.5,
        "out": rng.standard_normal((SIZE, 1)),
    }
    return [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]


def _save(path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, tuple], outputs: dict[str, tuple]) -> None:
    def infos(tensors: dict[str, tuple]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in tensors.items()]

    ints = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in {"one": [1], "first": [0], "second": [1], "third": [2], "flat": [-1]}.items()
    ]
    body = helper.make_graph(nodes, "vad", infos(inputs), infos(outputs), _weights() + ints)
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def sequence(path: Path) -> None:
    """Many windows of one stream, as silero_vad_16k_sequence.onnx."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["input", "project"], ["projected"]),
        node("Unsqueeze", ["projected", "one"], ["steps"]),
        node("LSTM", ["steps", "w", "r", "", "", "h", "c"], ["hidden", "hn", "cn"], hidden_size=SIZE),
        node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([-1, SIZE], np.int64))),
        node("Reshape", ["hidden", "shape"], ["rows"]),
        node("MatMul", ["rows", "out"], ["logits"]),
        node("Sigmoid", ["logits"], ["sigmoid"]),
        node("Reshape", ["sigmoid", "flat"], ["speech_probs"]),
    ]
    state = (FLOAT, [1, 1, SIZE])
    _save(
        path, nodes, {"input": (FLOAT, ["n", ROW]), "h": state, "c": state},
        {"speech_probs": (FLOAT, ["n"]), "hn": state, "cn": state},
    )  # fmt: skip


def rows(path: Path) -> None:
    """One window of many streams, as silero_vad.onnx."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["input", "project"], ["projected"]),
        node("Unsqueeze", ["projected", "first"], ["steps"]),
        node("Slice", ["state", "first", "second", "first"], ["h"]),
        node("Slice", ["state", "second", "third", "first"], ["c"]),
        node("LSTM", ["steps", "w", "r", "", "", "h", "c"], ["hidden", "hn", "cn"], hidden_size=SIZE),
        node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([-1, SIZE], np.int64))),
        node("Reshape", ["hidden", "shape"], ["flat_rows"]),
        node("MatMul", ["flat_rows", "out"], ["logits"]),
        node("Sigmoid", ["logits"], ["output"]),
        node("Concat", ["hn", "cn"], ["stateN"], axis=0),
    ]
    state = (FLOAT, [2, "b", SIZE])
    _save(
        path, nodes, {"input": (FLOAT, ["b", ROW]), "state": state, "sr": (INT64, [])},
        {"output": (FLOAT, ["b", 1]), "stateN": state},
    )  # fmt: skip
