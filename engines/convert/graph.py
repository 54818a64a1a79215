"""A small hand for writing ONNX graphs: nodes are added by operator, every method returns its result's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""Read by every ONNX Runtime since 1.13 and by TensorRT 8.6 and later."""

Axes = Sequence[int | str]


class GraphBuilder:
    """Collects one graph; saved once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Keep an array under `name`, which must be new."""
        if name in self._constants:
            raise ValueError(f"a second constant named {name}")
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value, dtype), name)
        return name

    def ints(self, *values: int) -> str:
        """Return a vector of integers, one and the same constant each time."""
        name = "ints_" + "_".join(map(str, values))
        return name if name in self._constants else self.constant(name, values, np.int64)

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output, which is named `name` or counted, and return that."""
        output = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def add_many(self, operator: str, inputs: Sequence[str], num_outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        base = f"{operator.lower()}_{len(self._nodes)}"
        outputs = [f"{base}_{index}" for index in range(num_outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, name=base, **attributes))
        return outputs

    def model(
        self, name: str, inputs: Mapping[str, Axes], outputs: Mapping[str, Axes], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """Return the checked model; axes are sizes, or names where they vary. All tensors are float32."""
        body = helper.make_graph(
            self._nodes, name, _infos(inputs), _infos(outputs), initializer=list(self._constants.values())
        )
        imports = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(body, opset_imports=imports, ir_version=IR_VERSION, producer_name="chorus")
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model

    def save(
        self,
        path: Path,
        name: str,
        inputs: Mapping[str, Axes],
        outputs: Mapping[str, Axes],
        metadata: Mapping[str, str],
    ) -> None:
        """Write the checked model to `path`."""
        onnx.save(self.model(name, inputs, outputs, metadata), path)


def _infos(tensors: Mapping[str, Axes]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(axes)) for name, axes in tensors.items()]
