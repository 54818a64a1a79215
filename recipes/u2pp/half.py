"""Convert graphs to float16: `python -m recipes.u2pp.half SOURCE_FOLDER TARGET_FOLDER [--keep-io]`.

Inputs and outputs become float16 too, as WeNet's and sherpa's converters leave them, or stay float32 (icefall's
`--fp16`), with a cast behind each input and before each output.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == _FLOAT


def _cast_at_the_edges(graph: onnx.GraphProto) -> None:
    """Leave float32 inputs and outputs as they are; what lies between them has names of its own."""
    inner = {value.name: f"{value.name}_half" for value in [*graph.input, *graph.output] if _is_float(value)}
    for node in graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    nodes = list(graph.node)
    before = [helper.make_node("Cast", [v.name], [inner[v.name]], to=_HALF) for v in graph.input if v.name in inner]
    after = [helper.make_node("Cast", [inner[v.name]], [v.name], to=_FLOAT) for v in graph.output if v.name in inner]
    del graph.node[:]
    graph.node.extend([*before, *nodes, *after])


def to_half(source: Path, target: Path, *, keep_io: bool = False) -> None:
    """Every float32 tensor becomes float16, but for inputs and outputs where `keep_io`; integers stay."""
    model = onnx.load(source)
    graph = model.graph
    for tensor in graph.initializer:
        _half_tensor(tensor)
    for node in graph.node:
        _half_attributes(node)
    del graph.value_info[:]
    if keep_io:
        _cast_at_the_edges(graph)
    else:
        for value in filter(_is_float, [*graph.input, *graph.output]):
            value.type.tensor_type.elem_type = _HALF
    onnx.save(model, target)


def halve_folder(source: Path, target: Path, *, keep_io: bool = False) -> None:
    """Convert every graph of a model's folder, and of folders in it, and copy its other files."""
    for path in sorted(each for each in source.rglob("*") if each.is_file()):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".onnx":
            to_half(path, place, keep_io=keep_io)
        else:
            shutil.copy(path, place)


def main() -> None:
    """Convert the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--keep-io", action="store_true", help="float32 inputs and outputs")
    arguments = parser.parse_args()
    halve_folder(arguments.source, arguments.target, keep_io=arguments.keep_io)


if __name__ == "__main__":
    main()
