"""Softplus as icefall exports it, in fewer passes: max(z, 0) + log(1 + exp(-|z|)) is relu(z) - log(sigmoid(|z|)).

Zipformer's activations (SwooshL, SwooshR) are made of it, and every operator is a pass over all values in memory. The
sigmoid of |z| lies in [0.5, 1), so its logarithm loses nothing: equal to 1e-6 (tests/engines/test_softplus.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper


def simplify_softplus(graph: onnx.GraphProto) -> int:
    """Rewrite every softplus of that form in place; return how many there were."""
    pattern = Pattern(graph)
    found = [each for node in graph.node if node.op_type == "Add" and (each := pattern.match(node)) is not None]
    splice(graph, [(inner, _shorter(z, inner[-1].output[0])) for z, inner in found])
    return len(found)


def splice(graph: onnx.GraphProto, replaced: Iterable[tuple[list[onnx.NodeProto], list[onnx.NodeProto]]]) -> None:
    """Put each second list of nodes in the place of the last node of the first, whose nodes all go."""
    gone: set[int] = set()
    ends: dict[int, list[onnx.NodeProto]] = {}
    for old, new in replaced:
        gone.update(map(id, old))
        ends[id(old[-1])] = new
    nodes = [each for node in graph.node for each in ends.get(id(node), [] if id(node) in gone else [node])]
    del graph.node[:]
    graph.node.extend(nodes)


def _shorter(z: str, out: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Relu", [z], [f"{out}_relu"]),
        helper.make_node("Abs", [z], [f"{out}_abs"]),
        helper.make_node("Sigmoid", [f"{out}_abs"], [f"{out}_sigmoid"]),
        helper.make_node("Log", [f"{out}_sigmoid"], [f"{out}_log"]),
        helper.make_node("Sub", [f"{out}_relu", f"{out}_log"], [out]),
    ]


class Pattern:
    """Who makes what in a graph, and how often it is read."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers = Counter(name for node in graph.node for name in node.input)
        self.readers.update(value.name for value in graph.output)
        self.weights = {each.name: each for each in graph.initializer}

    def match(self, end: onnx.NodeProto) -> tuple[str, list[onnx.NodeProto]] | None:
        """Return z and the nodes of the softplus that `end`, an Add, is the last of; None where it is none."""
        makers = [self.makers.get(name) for name in end.input]
        for log, top in (makers, makers[::-1]):
            if log is None or top is None or (log.op_type, top.op_type) != ("Log", "Max"):
                continue
            chain = self._chain(log)
            z = self._beside(top, 0.0)
            if chain is None or z is None or not self.is_inner([log, top]):
                continue
            distance = self.makers.get(chain[-1].input[0])
            if chain[-1].input[0] == z:
                return z, [*chain, log, top, end]
            if distance is not None and self.is_inner([distance]) and self._beside(distance, 0.0) == z:
                return z, [distance, *chain, log, top, end]
        return None

    def _chain(self, log: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """1 + exp(-abs(..)) that a logarithm is taken of, and nothing else reads."""
        nodes: list[onnx.NodeProto] = []
        name: str | None = log.input[0]
        for kind in ("Add", "Exp", "Neg", "Abs"):
            node = None if name is None else self.makers.get(name)
            if node is None or node.op_type != kind or not self.is_inner([node]):
                return None
            nodes.append(node)
            name = self._beside(node, 1.0) if kind == "Add" else node.input[0]
        return nodes

    def _beside(self, node: onnx.NodeProto, constant: float) -> str | None:
        """The other input of a node of two, one of which is `constant`; of a subtraction either may be."""
        if node.op_type not in ("Add", "Sub", "Max") or len(node.input) != 2:
            return None
        first, second = node.input
        if self._is(second, constant):
            return str(first)
        return str(second) if self._is(first, constant) else None

    def _is(self, name: str, constant: float) -> bool:
        return self.scalar(name) == constant

    def scalar(self, name: str) -> float | None:
        """The value of a constant of one float32; None for whatever else."""
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "Constant":
            value = next((each.t for each in maker.attribute if each.name == "value"), None)
        else:
            value = self.weights.get(name)
        if value is None or value.data_type != onnx.TensorProto.FLOAT or int(np.prod(value.dims)) != 1:
            return None
        return float(numpy_helper.to_array(value).reshape(()))

    def is_inner(self, nodes: list[onnx.NodeProto]) -> bool:
        return all(self.readers[name] == 1 for node in nodes for name in node.output)
