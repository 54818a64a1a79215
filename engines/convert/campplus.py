"""CAM++, the 3D-Speaker team's speaker network, as an ONNX graph made from its weights.

Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking", 2023,
arXiv 2303.00332; layer names are those of 3D-Speaker's `speakerlab/models/campplus` (Apache-2.0). All sizes are read
from the weights. What differs from a traced export, results being equal to float32 rounding:

- normalisation behind a convolution is folded into it;
- the mask of a layer is the same for 100 successive frames, so it is computed once per segment, not per frame, and
  spread by one index that all layers share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engines.convert.checkpoint import Array
from engines.convert.graph import GraphBuilder
from engines.errors import BadModel

SEGMENT = 100
"""Frames (of the half rate) that share a mask, the paper's segment pooling."""
DILATIONS = (1, 2, 2)
EPSILON = 1e-5
BINS = 80


def write_campplus(weights: Mapping[str, Array], path: Path, metadata: Mapping[str, str]) -> int:
    """Write the graph `feature` (batch, frames, 80) -> `embedding` (batch, size) and return the size.

    Needs three frames. The embedding is that of the published model: no activation behind the last normalisation.
    Raises BadModel for weights that are missing, left over or of another architecture.
    """
    network = _Campplus(weights)
    try:
        embedding, size = network.build()
    except (KeyError, ValueError, IndexError) as error:
        raise BadModel(f"these weights are not CAM++: {error}") from error
    unused = weights.keys() - network.used
    if unused:
        raise BadModel(f"these weights are not CAM++: {len(unused)} tensors are left over, as {sorted(unused)[0]}")
    network.graph.add("Identity", embedding, name="embedding")
    shapes = {"feature": ("batch", "frames", BINS)}, {"embedding": ("batch", size)}
    network.graph.save(path, "campplus", *shapes, metadata)
    return size


class _Campplus:
    """One building of the graph; `used` are the weights it took."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.graph = GraphBuilder()
        self.used: set[str] = set()
        self._weights = weights
        self._spread = ""
        self._count = ""

    def build(self) -> tuple[str, int]:
        x = self.graph.add("Transpose", "feature", perm=[0, 2, 1])
        x = self._head(self.graph.add("Unsqueeze", x, self.graph.ints(1)))
        x = self._conv(x, "xvector.tdnn.linear", norm="xvector.tdnn.nonlinear.batchnorm", strides=[2], relu=True)
        self._measure(x)
        for number, dilation in enumerate(DILATIONS, 1):
            x = self._block(x, f"xvector.block{number}", dilation)
            x = self._norm_relu(x, f"xvector.transit{number}.nonlinear.batchnorm")
            x = self._conv(x, f"xvector.transit{number}.linear")
        statistics = self._statistics(self._norm_relu(x, "xvector.out_nonlinear.batchnorm"))
        dense = self._conv(statistics, "xvector.dense.linear", norm="xvector.dense.nonlinear.batchnorm")
        return self.graph.add("Squeeze", dense, self.graph.ints(2)), len(self._weights["xvector.dense.linear.weight"])

    def _head(self, x: str) -> str:
        """Two-dimensional convolutions that take 80 bins to 10, then channels and bins side by side."""
        x = self._conv(x, "head.conv1", norm="head.bn1", relu=True)
        for stage in ("head.layer1", "head.layer2"):
            for number, stride in enumerate((2, 1)):
                x = self._residual(x, f"{stage}.{number}", [stride, 1])
        x = self._conv(x, "head.conv2", norm="head.bn2", strides=[2, 1], relu=True)
        channels = len(self._weights["head.conv2.weight"])
        return self.graph.add("Reshape", x, self.graph.ints(0, channels * BINS // 8, -1))

    def _residual(self, x: str, name: str, strides: list[int]) -> str:
        y = self._conv(x, f"{name}.conv1", norm=f"{name}.bn1", strides=strides, relu=True)
        y = self._conv(y, f"{name}.conv2", norm=f"{name}.bn2")
        if strides != [1, 1]:
            x = self._conv(x, f"{name}.shortcut.0", norm=f"{name}.shortcut.1", strides=strides)
        return self.graph.add("Relu", self.graph.add("Add", y, x))

    def _block(self, x: str, name: str, dilation: int) -> str:
        """Dense layers: each sees the input and all layers before it."""
        number = 1
        while f"{name}.tdnnd{number}.linear1.weight" in self._weights:
            x = self.graph.add("Concat", x, self._dense_layer(x, f"{name}.tdnnd{number}", dilation), axis=1)
            number += 1
        return x

    def _dense_layer(self, x: str, name: str, dilation: int) -> str:
        x = self._norm_relu(x, f"{name}.nonlinear1.batchnorm")
        x = self._conv(x, f"{name}.linear1", norm=f"{name}.nonlinear2.batchnorm", relu=True)
        local = self._conv(x, f"{name}.cam_layer.linear_local", dilations=[dilation])
        return self.graph.add("Mul", local, self._mask(x, f"{name}.cam_layer"))

    def _mask(self, x: str, name: str) -> str:
        """Context-aware mask: from the utterance's mean and each segment's mean, spread back over the frames."""
        means = self.graph.add("AveragePool", x, kernel_shape=[SEGMENT], strides=[SEGMENT], ceil_mode=1)
        context = self.graph.add("Add", means, self.graph.add("ReduceMean", x, axes=[2], keepdims=1))
        hidden = self._conv(context, f"{name}.linear1", relu=True)
        mask = self.graph.add("Sigmoid", self._conv(hidden, f"{name}.linear2"))
        return self.graph.add("Gather", mask, self._spread, axis=2)

    def _measure(self, x: str) -> None:
        """Number of frames behind the stride, and the segment that each of them belongs to."""
        graph = self.graph
        count = graph.add("Squeeze", graph.add("Shape", x, start=2, end=3))
        zero, one = (graph.constant(name, value, np.int64) for name, value in (("zero", 0), ("step", 1)))
        self._spread = graph.add("Div", graph.add("Range", zero, count, one), graph.constant("hundred", SEGMENT, "i8"))
        self._count = graph.add("Cast", count, to=1)

    def _statistics(self, x: str) -> str:
        """Mean and unbiased deviation over the frames, (batch, 2 channels, 1)."""
        graph = self.graph
        mean = graph.add("ReduceMean", x, axes=[2], keepdims=1)
        squares = graph.add("ReduceSumSquare", graph.add("Sub", x, mean), axes=[2], keepdims=1)
        freedom = graph.add("Sub", self._count, graph.constant("one", 1.0))
        deviation = graph.add("Sqrt", graph.add("Div", squares, freedom))
        return graph.add("Concat", mean, deviation, axis=1)

    def _conv(
        self,
        x: str,
        name: str,
        *,
        norm: str | None = None,
        strides: list[int] | None = None,
        dilations: list[int] | None = None,
        relu: bool = False,
    ) -> str:
        """Convolve so that stride 1 keeps the size, with the normalisation behind it folded in."""
        weight = self._take(f"{name}.weight")
        bias = self._take(f"{name}.bias") if f"{name}.bias" in self._weights else np.zeros(len(weight), np.float32)
        if norm is not None:
            scale, shift = self._affine(norm)
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            bias = bias * scale + shift
        kernel = list(weight.shape[2:])
        dilations = dilations or [1] * len(kernel)
        pads = [(size - 1) // 2 * dilation for size, dilation in zip(kernel, dilations, strict=True)]
        inputs = self.graph.constant(f"{name}.weight", weight), self.graph.constant(f"{name}.bias", bias)
        strides = strides or [1] * len(kernel)
        y = self.graph.add("Conv", x, *inputs, kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads * 2)
        return self.graph.add("Relu", y) if relu else y

    def _norm_relu(self, x: str, name: str) -> str:
        scale, shift = (value[:, np.newaxis] for value in self._affine(name))
        scaled = self.graph.add("Mul", x, self.graph.constant(f"{name}.scale", scale))
        return self.graph.add("Relu", self.graph.add("Add", scaled, self.graph.constant(f"{name}.shift", shift)))

    def _affine(self, name: str) -> tuple[Array, Array]:
        """Return a normalisation as scale and shift; the last one has neither weight nor bias of its own."""
        mean, variance = self._take(f"{name}.running_mean"), self._take(f"{name}.running_var")
        has_own = f"{name}.weight" in self._weights
        weight = self._take(f"{name}.weight") if has_own else np.ones_like(mean)
        bias = self._take(f"{name}.bias") if has_own else np.zeros_like(mean)
        scale = weight / np.sqrt(variance.astype(np.float64) + EPSILON)
        return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)

    def _take(self, name: str) -> Array:
        self.used.add(name)
        return self._weights[name]
