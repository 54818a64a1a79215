"""Zipformer's activations without their logarithm: the same numbers to 1e-6 for less time (docs/benchmarks.md).

SwooshL and SwooshR are log(1 + exp(z)) - 0.08 x - offset with z = x - shift (Yao et al., "Zipformer", 2024). icefall
exports them as eleven operators, each a pass over all values in memory, and the logarithm costs as much as twelve of
the others: ONNX Runtime has fast code for the sigmoid, and none for the logarithm. So, the leak being -0.08 / 0.92,

    log(1 + exp(z)) - 0.08 z = 0.92 leaky_relu(z) + log(1 + exp(-|z|))
    log(1 + exp(-|z|)) = log(2) / 2 - 0.92 t (t^4 + A t^2 + B) with t = sigmoid(|z| + SHIFT) - CENTRE, up to 3e-8.

With that shift both singularities of the logarithm, as a function of t, lie equally far from the interval of t around
zero, so odd powers are enough, and three of them. Where a layer's bias goes into nothing but x, it takes over the shift
of z as well.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from engines.convert.softplus import Pattern, splice

SLOPE = 0.08
SHIFT = math.log(1 + math.sqrt(2))
CENTRE = (2 + math.sqrt(2)) / 4
A, B = 1.164792563895667, 2.546898997396314
"""By iterated reweighted least squares over exp(-|z|) in [0, 1], the factor of t^5 being 1 - SLOPE."""


class Swoosh(NamedTuple):
    """One activation in a graph: names of values, the two numbers of its kind, and the nodes that compute it."""

    x: str
    out: str
    shift: float
    offset: float
    nodes: list[onnx.NodeProto]


def simplify_swoosh(graph: onnx.GraphProto) -> int:
    """Rewrite every SwooshL and SwooshR in place; return how many there were."""
    pattern = Pattern(graph)
    found = [each for node in graph.node if node.op_type == "Sub" and (each := _match(pattern, node)) is not None]
    rewriting = _Rewriting(graph, pattern)
    splice(graph, [(each.nodes, rewriting.shorter(each)) for each in found])
    return len(found)


def _match(pattern: Pattern, end: onnx.NodeProto) -> Swoosh | None:
    """The activation that `end`, a subtraction of its offset, is the last node of."""
    offset, tilted = pattern.scalar(end.input[1]), pattern.makers.get(end.input[0])
    if offset is None or tilted is None or tilted.op_type != "Sub":
        return None
    soft, tilt = (pattern.makers.get(name) for name in tilted.input)
    found = _softplus(pattern, soft)
    if found is None or soft is None or tilt is None or tilt.op_type != "Mul":
        return None
    shifted, slope = pattern.makers.get(found[0]), pattern.scalar(tilt.input[1])
    if shifted is None or shifted.op_type != "Sub" or shifted.input[0] != tilt.input[0]:
        return None
    shift = pattern.scalar(shifted.input[1])
    if shift is None or slope is None or abs(slope - SLOPE) > 1e-7 or not pattern.is_inner([soft, tilt, tilted]):
        return None
    if pattern.readers[found[0]] != sum(list(node.input).count(found[0]) for node in found[1]):
        return None
    return Swoosh(tilt.input[0], end.output[0], shift, offset, [shifted, *found[1], tilt, tilted, end])


def _softplus(pattern: Pattern, node: onnx.NodeProto | None) -> tuple[str, list[onnx.NodeProto]] | None:
    """Its input and nodes: one operator, or icefall's eight, which end in an addition."""
    if node is not None and node.op_type == "Softplus":
        return node.input[0], [node]
    return pattern.match(node) if node is not None and node.op_type == "Add" else None


class _Rewriting:
    """Writes activations, and biases that take over their shifts."""

    def __init__(self, graph: onnx.GraphProto, pattern: Pattern) -> None:
        self._graph = graph
        self._pattern = pattern

    def shorter(self, swoosh: Swoosh) -> list[onnx.NodeProto]:
        nodes: list[onnx.NodeProto] = []

        def then(kind: str, *inputs: str | float, **attributes: Any) -> str:
            names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
            nodes.append(helper.make_node(kind, names, [f"{swoosh.out}_{len(nodes)}"], **attributes))
            return str(nodes[-1].output[0])

        z = swoosh.x
        if self._pattern.readers[z] != 2 or not self._shift_bias(z, -swoosh.shift):
            z = then("Sub", z, swoosh.shift)
        t = then("Add", then("Sigmoid", then("Add", then("Abs", z), SHIFT)), -CENTRE)
        square = then("Mul", t, t)
        bump = then("Mul", t, then("Add", then("Mul", square, then("Add", square, A)), B))
        ramp = then("LeakyRelu", z, alpha=-SLOPE / (1 - SLOPE))
        scaled = then("Mul", then("Sub", ramp, bump), 1 - SLOPE)
        then("Add", scaled, math.log(2) / 2 - SLOPE * swoosh.shift - swoosh.offset)
        nodes[-1].output[0] = swoosh.out
        return nodes

    def _constant(self, value: float) -> str:
        name = f"swoosh_{value!r}"
        if name not in self._pattern.weights:
            self._add(np.array(value, np.float32), name)
        return name

    def _add(self, value: npt.NDArray[np.float32], name: str) -> None:
        self._pattern.weights[name] = numpy_helper.from_array(value, name)
        self._graph.initializer.append(self._pattern.weights[name])

    def _shift_bias(self, name: str, by: float) -> bool:
        """Add to a value by way of a bias that ends up in it alone; False, and nothing done, where there is none."""
        maker = self._pattern.makers.get(name)
        if maker is None or maker.op_type not in ("Add", "Conv", "Transpose"):
            return False
        addends = {"Add": range(2), "Conv": range(2, len(maker.input)), "Transpose": range(0)}[maker.op_type]
        for place in addends:
            bias = self._pattern.weights.get(maker.input[place])
            if bias is not None:
                self._add(numpy_helper.to_array(bias) + np.float32(by), f"{name}_shifted_bias")
                maker.input[place] = f"{name}_shifted_bias"
                return True
        before = [] if maker.op_type == "Conv" else maker.input
        return any(self._pattern.readers[each] == 1 and self._shift_bias(each, by) for each in before)
