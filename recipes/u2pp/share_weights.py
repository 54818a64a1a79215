"""Let graphs of one folder keep equal weights once: `python -m recipes.u2pp.share_weights a.onnx b.onnx weights.bin`.

The streaming and the offline graph hold the same encoder. ONNX lets a graph keep tensors in a file beside it; here both
point into the same one, where every distinct array of at least 1 KiB lies once.
"""

import argparse
import hashlib
from pathlib import Path

import onnx
from onnx import GraphProto, TensorProto

_MIN_BYTES = 1024
_ALIGNMENT = 64


class Store:
    """The bytes of all distinct arrays, in order of first use."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._offsets: dict[bytes, int] = {}

    def put(self, raw: bytes) -> int:
        """Offset of `raw`, stored now unless equal bytes are there."""
        key = hashlib.sha256(raw).digest()
        if key not in self._offsets:
            self.data.extend(bytes(-len(self.data) % _ALIGNMENT))
            self._offsets[key] = len(self.data)
            self.data.extend(raw)
        return self._offsets[key]


def point_into(tensor: TensorProto, location: str, offset: int, size: int) -> None:
    """Replace a tensor's bytes by a reference."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def hoist(graph: GraphProto) -> None:
    """Make initializers of large Constant nodes (tables that the exporter folded): only those can lie elsewhere."""
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        value = next((each.t for each in node.attribute if each.name == "value"), None)
        if node.op_type == "Constant" and value is not None and len(value.raw_data) >= _MIN_BYTES:
            graph.initializer.append(value)
            graph.initializer[-1].name = node.output[0]
        else:
            graph.node.append(node)


def share(graphs: list[Path], weights: Path) -> None:
    """Rewrite `graphs` in place and write `weights`. Raises ValueError if they are not in one folder."""
    if any(path.parent != weights.parent for path in graphs):
        raise ValueError(f"ONNX allows no references out of a graph's folder: {[str(p) for p in [*graphs, weights]]}")
    store = Store()
    models = [onnx.load(path) for path in graphs]
    for model in models:
        hoist(model.graph)
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) >= _MIN_BYTES:
                raw = tensor.raw_data
                point_into(tensor, weights.name, store.put(raw), len(raw))
    weights.write_bytes(store.data)
    for model, path in zip(models, graphs, strict=True):
        path.write_bytes(model.SerializeToString())


def main() -> None:
    """Rewrite and print sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", type=Path, nargs="+")
    parser.add_argument("weights", type=Path)
    arguments = parser.parse_args()
    share(arguments.graphs, arguments.weights)
    for path in [*arguments.graphs, arguments.weights]:
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
