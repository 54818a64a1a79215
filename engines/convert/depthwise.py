"""Depthwise convolutions over a fixed number of frames as matrix products: the same numbers, several times faster.

ONNX Runtime convolves one channel of one stream after the other on the CPU. A streaming encoder's window never changes,
so each channel's kernel can be written as a banded matrix (frames in, frames out), and all streams of a batch multiply
it at once. Measured in docs/benchmarks.md, "Graphs rewritten at load".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from engines.convert.softplus import simplify_softplus
from engines.convert.swoosh import simplify_swoosh

MAX_FILE_BYTES = 1 << 30
"""Beyond it a graph is run as it lies: a rewritten one is held in memory once more while it loads."""
TOLERANCE = 1e-4
"""Of the largest value that a convolution gave on noise: what its product may differ by."""

Array = npt.NDArray[Any]


def as_products(path: Path) -> bytes | None:
    """Return the graph with its depthwise convolutions rewritten; None where there are none, or it is not for this.

    Only the batch axis of the inputs may vary. Every product is compared with its convolution on noise first, and one
    that differs is left alone. Takes seconds for a big graph.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        return None
    model = onnx.load(path, load_external_data=False)
    weights = {each.name: each for each in model.graph.initializer}
    convolutions = [node for node in model.graph.node if _is_depthwise(node, weights)]
    if not convolutions or not _has_one_free_axis(model.graph) or _has_external_data(weights.values()):
        return None
    seen = _run_on_noise(model, {name for node in convolutions for name in (node.input[0], node.output[0])})
    rewritten: dict[str, list[onnx.NodeProto]] = {}
    for node in convolutions:
        heard, said = seen[node.input[0]], seen[node.output[0]]
        kernel = numpy_helper.to_array(weights[node.input[1]])
        bias = (
            numpy_helper.to_array(weights[node.input[2]]) if len(node.input) > 2 else np.zeros(len(kernel), np.float32)
        )
        banded = band(kernel[:, 0], heard.shape[2], _padding(node))
        product = np.einsum("bct,cto->bco", heard, banded) + bias[:, np.newaxis]
        if product.shape == said.shape and np.abs(product - said).max() <= TOLERANCE * max(np.abs(said).max(), 1.0):
            rewritten[node.output[0]] = _product(node, banded, bias, model.graph)
    if not rewritten:
        return None
    nodes = [rewritten.get(node.output[0], [node]) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(itertools.chain.from_iterable(nodes))
    # Quantised graphs round activations by what else is in the tensor: a last bit may become a whole step of 8 bits,
    # as it does by the runtime's own optimiser. The swooshes gain 9 % there; another softplus is left as it is.
    simplify_swoosh(model.graph)
    if not any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node):
        simplify_softplus(model.graph)
    _forget_unread_weights(model.graph)
    return bytes(model.SerializeToString())


def _forget_unread_weights(graph: onnx.GraphProto) -> None:
    """Drop the kernels that became matrices: they would lie in memory once more."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [each for each in graph.initializer if each.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def band(kernel: Array, num_in: int, padding: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the matrices (channels, frames in, frames out) of kernels (channels, taps) over `num_in` frames."""
    taps = kernel.shape[1]
    num_out = num_in + sum(padding) - taps + 1
    matrices = np.zeros((len(kernel), num_in, max(num_out, 0)), np.float32)
    for out in range(num_out):
        first = out - padding[0]
        begin, end = max(first, 0), min(first + taps, num_in)
        if begin < end:  # else all of its taps lie in the padding
            matrices[:, begin:end, out] = kernel[:, begin - first : end - first]
    return matrices


def _is_depthwise(node: onnx.NodeProto, weights: dict[str, TensorProto]) -> bool:
    """One kernel for each channel, over time, frame by frame."""
    weight = weights.get(node.input[1]) if node.op_type == "Conv" else None
    if weight is None or weight.data_type != TensorProto.FLOAT or any(name not in weights for name in node.input[1:]):
        return False
    attributes = _attributes(node)
    return (
        len(weight.dims) == 3
        and weight.dims[1] == 1
        and attributes.get("group") == weight.dims[0] > 1
        and attributes.get("strides", [1]) == attributes.get("dilations", [1]) == [1]
        and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _padding(node: onnx.NodeProto) -> tuple[int, int]:
    before, after = _attributes(node).get("pads", (0, 0))
    return int(before), int(after)


def _has_one_free_axis(graph: onnx.GraphProto) -> bool:
    free = {
        axis.dim_param or "?"
        for value in graph.input
        for axis in value.type.tensor_type.shape.dim
        if not axis.HasField("dim_value")
    }
    return len(free) == 1 and "?" not in free


def _has_external_data(tensors: Iterable[TensorProto]) -> bool:
    return any(each.data_location == TensorProto.EXTERNAL for each in tensors)


def _run_on_noise(model: onnx.ModelProto, names: set[str]) -> dict[str, Array]:
    """Run a step of two streams; return the values of inner tensors."""
    num_outputs, known = len(model.graph.output), {value.name for value in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in sorted(names - known)
    )
    data = model.SerializeToString()
    del model.graph.output[num_outputs:]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, sess_options=options, providers=["CPUExecutionProvider"])
    random, wanted = np.random.default_rng(0), sorted(names)
    feeds = {value.name: _noise(value, random) for value in model.graph.input}
    return dict(zip(wanted, session.run(wanted, feeds), strict=True))


def _noise(value: onnx.ValueInfoProto, random: np.random.Generator) -> Array:
    """Noise for floats; integers count what has been heard, nothing yet."""
    shape = [axis.dim_value or 2 for axis in value.type.tensor_type.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return (random.standard_normal(shape) if dtype.kind == "f" else np.zeros(shape)).astype(dtype)


def _product(node: onnx.NodeProto, banded: Array, bias: Array, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Channels first, so that a product is one matrix for each channel: (C, B, T) @ (C, T, O) + (C, 1, 1)."""
    out = node.output[0]
    graph.initializer.append(numpy_helper.from_array(banded, f"{out}_band"))
    graph.initializer.append(numpy_helper.from_array(bias[:, np.newaxis, np.newaxis].copy(), f"{out}_bias"))
    return [
        helper.make_node("Transpose", [node.input[0]], [f"{out}_by_channel"], perm=[1, 0, 2]),
        helper.make_node("MatMul", [f"{out}_by_channel", f"{out}_band"], [f"{out}_product"]),
        helper.make_node("Add", [f"{out}_product", f"{out}_bias"], [f"{out}_biased"]),
        helper.make_node("Transpose", [f"{out}_biased"], [out], perm=[1, 0, 2]),
    ]
