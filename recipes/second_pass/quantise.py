"""Multiply in 8 bits: `python -m recipes.second_pass.quantise in.onnx out.onnx`.

A step of the decoder's search has one to four rows, so nearly all its time is the way of the weights through memory.
MatMulNBits (an operator of ONNX Runtime, from its version 1.22 in 8 bits) reads them as they lie in the file, a quarter
of the bytes, and rounds what they are multiplied by to 8 bits too, in blocks of a row: no row depends on another one.
With many rows it is slower than float32, so other graphs are not made like this. What does not fit in blocks, is small
or no product is stored as recipes.u2pp.quantise does.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from recipes.u2pp.quantise import command, quantise_graph, split, weight_axes

BLOCK = 32
_PRODUCTS = ("MatMul", "Gemm")
_ZERO = 128  # of what is stored as uint8
_DOMAIN = "com.microsoft"
_EIGHT_BIT_INPUTS = 4  # accuracy_level: the operator's name for int8


def products(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Weights of products that fit in blocks, by name, each (outputs, inputs)."""
    multiplied = {node.input[1] for node in graph.node if node.op_type in _PRODUCTS}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    named = {name: axis for name, axis in weight_axes(graph).items() if name in multiplied}
    weights = {name: np.moveaxis(numpy_helper.to_array(tensors[name]), axis, 0) for name, axis in named.items()}
    return {name: weight for name, weight in weights.items() if weight.ndim == 2 and weight.shape[1] % BLOCK == 0}


def _product(node: onnx.NodeProto, outputs: int, inputs: int) -> onnx.NodeProto:
    name = node.input[1]
    given = [node.input[0], f"{name}.blocks", f"{name}.scales"] + ["", "", *node.input[2:]] * (len(node.input) > 2)
    return helper.make_node(
        "MatMulNBits", given, node.output, domain=_DOMAIN, bits=8, block_size=BLOCK, K=inputs, N=outputs,
        accuracy_level=_EIGHT_BIT_INPUTS,
    )  # fmt: skip


def _scales(name: str) -> Iterator[onnx.NodeProto]:
    """The operator wants a scale for every block: those of a channel are one."""
    yield helper.make_node("Expand", [f"{name}.scale", f"{name}.shape"], [f"{name}.each"])
    yield helper.make_node("Reshape", [f"{name}.each", "flat"], [f"{name}.scales"])


def _looked_up(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Rows of a table that is a product's weight too (the embedding): only those asked for become float32."""
    name, (out,) = node.input[0], node.output
    yield helper.make_node("Gather", [f"{name}.blocks", node.input[1]], [f"{out}.blocks"])
    yield helper.make_node("Cast", [f"{out}.blocks"], [f"{out}.cast"], to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Sub", [f"{out}.cast", "zero"], [f"{out}.signed"])
    yield helper.make_node("Reshape", [f"{out}.signed", f"{name}.row"], [f"{out}.rows"])
    yield helper.make_node("Gather", [f"{name}.scale", node.input[1]], [f"{out}.scale"])
    yield helper.make_node("Mul", [f"{out}.rows", f"{out}.scale"], [out])


def _stored(name: str, weight: np.ndarray) -> dict[str, np.ndarray]:
    """What stands for a weight (outputs, inputs)."""
    values, scale = split(weight, 0)
    outputs, blocks = len(values), values.shape[1] // BLOCK
    return {
        f"{name}.blocks": (values.astype(np.int16) + _ZERO).astype(np.uint8).reshape(outputs, blocks, BLOCK),
        f"{name}.scale": scale,
        f"{name}.shape": np.array([outputs, blocks]),
        f"{name}.row": np.array([-1, values.shape[1]]),
    }


def quantise(source: Path, target: Path) -> None:
    """Rewrite one file."""
    model = onnx.load(source)
    graph = model.graph
    weights = products(graph)
    constants = {"flat": np.array([-1]), "zero": np.array(_ZERO, np.float32)}
    nodes = [node for name in weights for node in _scales(name)]
    for name, weight in weights.items():
        constants |= _stored(name, weight)
    for node in graph.node:
        if node.op_type in _PRODUCTS and node.input[1] in weights:
            nodes.append(_product(node, *weights[node.input[1]].shape))
        elif node.op_type == "Gather" and node.input[0] in weights:
            nodes += _looked_up(node)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items() if name in used)
    quantise_graph(graph)
    model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    onnx.save(model, target)


if __name__ == "__main__":
    command(quantise, __doc__)
