"""Convert a whole graph to float16, inputs and outputs included, as WeNet's converter leaves them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def _half_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == _FLOAT:
        values = np.clip(numpy_helper.to_array(tensor), -65504, 65504).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _half_attributes(node: onnx.NodeProto) -> None:
    """Constant values, and the targets of Cast."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            _half_tensor(attribute.t)
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT:
            attribute.i = _HALF


def to_half(source: Path, target: Path) -> None:
    """Every float32 tensor becomes float16; integers stay."""
    model = onnx.load(source)
    graph = model.graph
    for tensor in graph.initializer:
        _half_tensor(tensor)
    for node in graph.node:
        _half_attributes(node)
    del graph.value_info[:]
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == _FLOAT:
            value.type.tensor_type.elem_type = _HALF
    onnx.save(model, target)
