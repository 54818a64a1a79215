"""Store weights in 8 bits, compute in float32: `python -m recipes.u2pp.quantise in.onnx out.onnx`.

Each large weight becomes int8 with one float scale per output channel, followed by Cast and Mul. ONNX Runtime folds
both when it loads the graph, so speed and batch independence are those of float32; only the file is a quarter.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

_MIN_ELEMENTS = 2048


def channel_axis(node: onnx.NodeProto, position: int) -> int | None:
    """The axis of output channels if input `position` of `node` is a weight, else None."""
    if node.op_type == "MatMul" and position == 1:
        return -1
    if node.op_type == "Gemm" and position == 1:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if transposed else 1
    if node.op_type == "Conv" and position == 1:
        return 0
    if node.op_type == "Gather" and position == 0:
        return 0
    return None


def weight_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """Initializers worth shrinking, with the axis of their channels."""
    sizes = {t.name: int(np.prod(t.dims)) for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    axes: dict[str, int] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            axis = channel_axis(node, position)
            if axis is not None and sizes.get(name, 0) >= _MIN_ELEMENTS:
                axes[name] = axis
    return axes


def split(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and the float32 scales they are multiplied by (broadcastable)."""
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    scale = np.abs(weight).max(others, keepdims=True).astype(np.float32) / 127.0
    scale = np.where(scale == 0, np.float32(1), scale)
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale


def quantise(source: Path, target: Path) -> None:
    """Rewrite one file."""
    model = onnx.load(source)
    quantise_graph(model.graph)
    onnx.save(model, target)


def quantise_graph(graph: onnx.GraphProto) -> None:
    """Rewrite a graph in place."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for name, axis in weight_axes(graph).items():
        values, scale = split(numpy_helper.to_array(tensors[name]), axis)
        tensors[name].CopyFrom(numpy_helper.from_array(values, name + ".int8"))
        graph.initializer.append(numpy_helper.from_array(scale, name + ".scale"))
        nodes.append(helper.make_node("Cast", [name + ".int8"], [name + ".cast"], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [name + ".cast", name + ".scale"], [name]))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def command(rewrite: Callable[[Path, Path], None], description: str) -> None:
    """Command line of what makes a small file of a large one: rewrite, and print both sizes."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    rewrite(arguments.source, arguments.target)
    print(f"{arguments.source.stat().st_size / 1e6:.2f} MB -> {arguments.target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    command(quantise, __doc__)
