"""CAM++, the 3D-Speaker team's speaker network, as an ONNX graph made from its weights.

Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking", 2023,
arXiv 2303.00332; layer names are those of 3D-Speaker's `speakerlab/models/campplus` (Apache-2.0). All sizes are read
from the weights. What differs from a traced export, results being equal to float32 rounding:

- normalisation behind a convolution is folded into it;
- the mask of a layer is the same for 100 successive frames, so it is computed once per segment, not per frame, and
  spread by a product with one matrix of zeros and ones that all layers share;
- frames are images of height 1, as ONNX Runtime has its fastest (blocked) convolutions for images: 41 ms instead of
  47 ms for 3 s on one core (2026-11-21).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto

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
        self._spread = ""  # (segments, frames): 1 where a frame belongs to a segment
        self._count = ""

    def build(self) -> tuple[str, int]:
        x = self.graph.add("Transpose", "feature", perm=[0, 2, 1])
        x = self._head(self.graph.add("Unsqueeze", x, self.graph.ints(1)))
        x = self._conv(x, "xvector.tdnn.linear", norm="xvector.tdnn.nonlinear.batchnorm", strides=(1, 2), relu=True)
        self._measure(x)
        for number, dilation in enumerate(DILATIONS, 1):
            x = self._block(x, f"xvector.block{number}", dilation)
            x = self._norm_relu(x, f"xvector.transit{number}.nonlinear.batchnorm")
            x = self._conv(x, f"xvector.transit{number}.linear")
        statistics = self._statistics(self._norm_relu(x, "xvector.out_nonlinear.batchnorm"))
        dense = self._conv(statistics, "xvector.dense.linear", norm="xvector.dense.nonlinear.batchnorm")
        return self.graph.add("Squeeze", dense, self.graph.ints(2, 3)), len(self._take("xvector.dense.linear.weight"))

    def _head(self, x: str) -> str:
        """Two-dimensional convolutions that take 80 bins to 10, then channels and bins side by side."""
        x = self._conv(x, "head.conv1", norm="head.bn1", relu=True)
        for stage in ("head.layer1", "head.layer2"):
            for number, stride in enumerate((2, 1)):
                x = self._residual(x, f"{stage}.{number}", (stride, 1))
        x = self._conv(x, "head.conv2", norm="head.bn2", strides=(2, 1), relu=True)
        channels = len(self._weights["head.conv2.weight"])
        return self.graph.add("Reshape", x, self.graph.ints(0, channels * BINS // 8, 1, -1))

    def _residual(self, x: str, name: str, strides: tuple[int, int]) -> str:
        y = self._conv(x, f"{name}.conv1", norm=f"{name}.bn1", strides=strides, relu=True)
        y = self._conv(y, f"{name}.conv2", norm=f"{name}.bn2")
        if strides != (1, 1):
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
        local = self._conv(x, f"{name}.cam_layer.linear_local", dilation=dilation)
        return self.graph.add("Mul", local, self._mask(x, f"{name}.cam_layer"))

    def _mask(self, x: str, name: str) -> str:
        """Context-aware mask: from the utterance's mean and each segment's mean, spread back over the frames."""
        means = self.graph.add("AveragePool", x, kernel_shape=[1, SEGMENT], strides=[1, SEGMENT], ceil_mode=1)
        context = self.graph.add("Add", means, self.graph.add("GlobalAveragePool", x))
        hidden = self._conv(context, f"{name}.linear1", relu=True)
        mask = self.graph.add("Sigmoid", self._conv(hidden, f"{name}.linear2"))
        return self.graph.add("MatMul", mask, self._spread)

    def _measure(self, x: str) -> None:
        """Number of frames behind the stride, and which segment each of them belongs to."""
        graph = self.graph
        zero, one, length = (
            graph.constant(name, value, np.int64) for name, value in (("zero", 0), ("one", 1), ("length", SEGMENT))
        )
        count = graph.add("Squeeze", graph.add("Shape", x, start=3, end=4))
        segments = graph.add("Div", graph.add("Range", zero, count, one), length)
        num_segments = graph.add("Add", graph.add("ReduceMax", segments, keepdims=0), one)
        rows = graph.add("Unsqueeze", graph.add("Range", zero, num_segments, one), graph.ints(1))
        belongs = graph.add("Equal", rows, graph.add("Unsqueeze", segments, graph.ints(0)))
        self._spread = graph.add("Cast", belongs, to=TensorProto.FLOAT)
        self._count = graph.add("Cast", count, to=TensorProto.FLOAT)

    def _statistics(self, x: str) -> str:
        """Mean and unbiased deviation over the frames, (batch, 2 channels, 1, 1)."""
        graph = self.graph
        mean = graph.add("GlobalAveragePool", x)
        squares = graph.add("ReduceSumSquare", graph.add("Sub", x, mean), axes=[3], keepdims=1)
        freedom = graph.add("Sub", self._count, graph.constant("one.float", 1.0))
        deviation = graph.add("Sqrt", graph.add("Div", squares, freedom))
        return graph.add("Concat", mean, deviation, axis=1)

    def _conv(
        self,
        x: str,
        name: str,
        *,
        norm: str | None = None,
        strides: Sequence[int] = (1, 1),
        dilation: int = 1,
        relu: bool = False,
    ) -> str:
        """Convolve so that stride 1 keeps the size, with the normalisation behind it folded in."""
        weight = self._take(f"{name}.weight")
        bias = self._take(f"{name}.bias") if f"{name}.bias" in self._weights else np.zeros(len(weight), np.float32)
        if norm is not None:
            scale, shift = self._affine(norm)
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            bias = bias * scale + shift
        if weight.ndim == 3:
            weight = weight[:, :, np.newaxis]
        kernel = list(weight.shape[2:])
        pads = [(kernel[0] - 1) // 2, (kernel[1] - 1) // 2 * dilation]
        inputs = self.graph.constant(f"{name}.weight", weight), self.graph.constant(f"{name}.bias", bias)
        y = self.graph.add(
            "Conv", x, *inputs, kernel_shape=kernel, strides=strides, dilations=[1, dilation], pads=pads * 2
        )
        return self.graph.add("Relu", y) if relu else y

    def _norm_relu(self, x: str, name: str) -> str:
        """A normalisation that other layers' inputs do not share, so that no convolution can take it in."""
        parts = (f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        inputs = [self.graph.constant(part, self._take(part)) for part in parts]
        return self.graph.add("Relu", self.graph.add("BatchNormalization", x, *inputs, epsilon=EPSILON))

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
