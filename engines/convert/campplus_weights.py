"""Read the weights of CAM++ out of an ONNX graph, whoever exported it: by the order and shapes of its convolutions.

Exporters fold normalisations behind convolutions into them, name constants as they like and write the pooling in many
ways; the order in which the network computes stays. What is read is a guess until its result was compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from engines.kernels.architecture import LOCAL_TAPS, TAPS, Affine, Block, Layer, Residual, Weights

MAX_FILE_BYTES = 1 << 28
_NUM_RESIDUALS = 4
_NUM_HEAD = 12  # a first convolution, four residual blocks of which two have a shortcut, a last one
_IMAGE = (3, 3)


def read_campplus(path: Path) -> Weights | None:
    """Return the weights; None for a graph of another network, or weights that are not float32 in the file."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return None
    graph = onnx.load(path, load_external_data=False).graph
    constants = {each.name: each for each in graph.initializer if each.data_location != onnx.TensorProto.EXTERNAL}
    try:
        return _Reader(graph, constants).read()
    except (LookupError, ValueError, StopIteration):
        return None


class _Reader:
    """One reading. Raises LookupError, ValueError where the graph is not as expected."""

    def __init__(self, graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto]) -> None:
        self._constants = constants
        uses = Counter(name for node in graph.node for name in node.input)
        followers = {node.input[0]: node for node in graph.node if node.op_type == "BatchNormalization"}
        folded: set[str] = set()
        self._convolutions: list[Affine] = []
        self._dilations: list[int] = []
        for node in graph.node:
            if node.op_type == "Conv":
                after = followers.get(node.output[0]) if uses[node.output[0]] == 1 else None
                self._convolutions.append(self._convolution(node, after))
                attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
                self._dilations.append(attributes.get("dilations", [1])[-1])
                if after is not None:
                    folded.add(after.output[0])
        self._norms = [
            self._norm(node)
            for node in graph.node
            if node.op_type == "BatchNormalization" and node.output[0] not in folded
        ]

    def read(self) -> Weights:
        first, *inner, last = self._convolutions[:_NUM_HEAD]
        convolutions, at = self._convolutions, _NUM_HEAD
        _require(first[0].shape[1:] == (1, *_IMAGE) and convolutions[at][0].shape[-1] == TAPS)
        halving, blocks, norms = _flat(convolutions[at]), list[Block](), iter(self._norms)
        at += 1
        while at + 2 < len(convolutions):
            layers: list[Layer] = []
            dilation = self._dilations[at + 1]
            while convolutions[at + 1][0].shape[-1] == LOCAL_TAPS:
                bottleneck, local, *masks = map(_flat, convolutions[at : at + 4])
                layers.append(Layer(next(norms), _point(bottleneck), local, *map(_point, masks)))
                at += 4
            blocks.append(Block(dilation, layers, next(norms), _point(_flat(convolutions[at]))))
            at += 1
        _require(at == len(convolutions) - 1 and len(blocks) > 0)
        width = len(blocks[-1].transit[0])
        norm = next(norms, (np.ones(width, np.float32), np.zeros(width, np.float32)))
        _require(next(norms, None) is None)
        return Weights(first, _residuals(inner), last, halving, blocks, norm, _point(_flat(convolutions[at])))

    def _convolution(self, node: onnx.NodeProto, norm: onnx.NodeProto | None) -> Affine:
        weight = self._array(node.input[1])
        bias = self._array(node.input[2]) if len(node.input) > 2 else np.zeros(len(weight), np.float32)
        if norm is None:
            return weight, bias
        scale, shift = self._norm(norm)
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), bias * scale + shift

    def _norm(self, node: onnx.NodeProto) -> Affine:
        weight, bias, mean, variance = (self._array(name).astype(np.float64) for name in node.input[1:5])
        epsilon = next((each.f for each in node.attribute if each.name == "epsilon"), 1e-5)
        scale = weight / np.sqrt(variance + epsilon)
        return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)

    def _array(self, name: str) -> npt.NDArray[Any]:
        value = numpy_helper.to_array(self._constants[name])
        _require(value.dtype == np.float32)
        return value


def _residuals(convolutions: Sequence[Affine]) -> list[Residual]:
    """Pair two convolutions of 3 by 3; one of 1 by 1 behind them is their shortcut."""
    found: list[Residual] = []
    waiting = list(convolutions)
    while waiting:
        first, second = waiting.pop(0), waiting.pop(0)
        has_shortcut = bool(waiting) and waiting[0][0].shape[2:] == (1, 1)
        found.append(Residual(first, second, waiting.pop(0) if has_shortcut else None))
        _require(first[0].shape == second[0].shape and first[0].shape[2:] == _IMAGE)
    _require([each.shortcut is None for each in found] == [False, True] * (_NUM_RESIDUALS // 2))
    return found


def _flat(convolution: Affine) -> Affine:
    """Frames as images of height 1 are frames."""
    weight, bias = convolution
    return (weight[:, :, 0] if weight.ndim == 4 else weight), bias


def _point(convolution: Affine) -> Affine:
    """A convolution over one frame is a matrix."""
    weight, bias = convolution
    _require(weight.ndim == 3 and weight.shape[2] == 1)
    return weight[:, :, 0], bias


def _require(is_so: bool) -> None:
    if not is_so:
        raise ValueError("not CAM++")
