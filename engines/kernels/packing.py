"""The weights of CAM++ laid out for the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engines.kernels.architecture import LOCAL_TAPS, TAPS, Affine, Array, Layer, Residual, Weights
from engines.kernels.tiles import panels
from engines.kernels.winograd import line_filter, plane_filter, row_filter

DEPTH = 256
"""Channels multiplied at a time: 16 columns of them fill half of a first-level cache."""
MARGIN = 12
"""Rows of zeros kept before and behind the frames of a layer."""
MAX_DILATION = 2
"""A tile of four outputs reads five dilations of rows behind the frames."""


class Packed:
    """Weights as the kernels read them: one flat array, and where in it everything begins. Immutable."""

    def __init__(self, weights: Weights) -> None:
        """Raises ValueError for sizes that the kernels do not take: channels must come in sixteens."""
        self._parts: list[Array] = []
        self._length = 0
        channels, growth = len(weights.first[0]), len(weights.blocks[0].layers[0].local[0])
        hidden, inner = (len(each[0]) for each in _sizes(weights.blocks[0].layers[0]))
        most = max(channels, growth, hidden, inner, *(len(block.transit[0]) for block in weights.blocks))
        zeros = self._keep(np.zeros(most, np.float32))
        self.head = np.array(
            [
                channels, weights.halving[0].shape[1] // channels, len(weights.halving[0]), zeros,
                *self._product(weights.first[0].reshape(channels, 9).T, weights.first[1]),
                *(offset for each in weights.residuals for offset in self._residual(each)),
                self._keep(row_filter(weights.last[0])), self._keep(weights.last[1]),
                *self._halving(weights.halving, channels),
                *map(self._keep, weights.norm), *self._matrix(weights.embedding), len(weights.embedding[1]),
            ]
        )  # fmt: skip
        self.sizes = np.array([hidden, growth, inner])
        self.layers = np.array(
            [self._layer(layer, (hidden, growth, inner)) for block in weights.blocks for layer in block.layers]
        )
        self.blocks = np.array(
            [
                [len(block.layers), block.dilation, block.layers[0].bottleneck[0].shape[1], len(block.norm[0]),
                 *map(self._keep, block.norm), *self._deep(block.transit), len(block.transit[1])]
                for block in weights.blocks
            ]
        )  # fmt: skip
        _require_chain(int(self.head[2]), self.blocks, growth)
        self.values = np.concatenate(self._parts)

    def _keep(self, values: Array) -> int:
        """Add values, and return where they begin."""
        begin = self._length
        self._parts.append(np.ascontiguousarray(values, np.float32).reshape(-1))
        self._length += values.size
        return begin

    def _product(self, matrix: Array, bias: Array) -> tuple[int, int]:
        return self._keep(panels(matrix)), self._keep(bias)

    def _matrix(self, weights: Affine) -> tuple[int, int]:
        return self._product(weights[0].T, weights[1])

    def _deep(self, weights: Affine) -> tuple[int, int]:
        """For `project`: the inputs in parts of `DEPTH`."""
        matrix = weights[0].T
        parts = [panels(matrix[begin : begin + DEPTH]) for begin in range(0, len(matrix), DEPTH)]
        return self._keep(np.concatenate(parts)), self._keep(weights[1])

    def _residual(self, residual: Residual) -> tuple[int, ...]:
        shortcut = (-1, -1)
        if residual.shortcut is not None:
            shortcut = self._product(residual.shortcut[0][:, :, 0, 0].T, residual.shortcut[1])
        first = plane_filter if residual.shortcut is None else row_filter
        return (
            self._keep(first(residual.first[0])), self._keep(residual.first[1]),
            self._keep(plane_filter(residual.second[0])), self._keep(residual.second[1]),
            *shortcut,
        )  # fmt: skip

    def _halving(self, weights: Affine, channels: int) -> tuple[int, int]:
        """From (out, channels by rows, taps) to (rows, taps, channels) by out, the order of an image's segments."""
        weight = weights[0].reshape(len(weights[0]), channels, -1, TAPS)
        return self._product(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)), weights[1])

    def _layer(self, layer: Layer, sizes: tuple[int, int, int]) -> list[int]:
        hidden, growth, inner = sizes
        shapes = [(hidden, len(layer.norm[0])), (growth, hidden, LOCAL_TAPS), (inner, hidden), (growth, inner)]
        given = [layer.bottleneck, layer.local, layer.first_mask, layer.second_mask]
        if [each[0].shape for each in given] != shapes:
            raise ValueError(f"a layer of {[each[0].shape for each in given]}; expected {shapes}")
        return [
            len(layer.norm[0]), *map(self._keep, layer.norm), *self._deep(layer.bottleneck),
            self._keep(line_filter(layer.local[0])), self._keep(layer.local[1]),
            *self._matrix(layer.first_mask), *self._matrix(layer.second_mask),
        ]  # fmt: skip


def _sizes(layer: Layer) -> tuple[Affine, Affine]:
    return layer.bottleneck, layer.first_mask


def _require_chain(first: int, blocks: npt.NDArray[Any], growth: int) -> None:
    """Every block begins with what the one before gives, and each layer adds `growth`."""
    for num_layers, dilation, begin, end, *_, width_after in blocks.tolist():
        if begin != first or end != begin + num_layers * growth or dilation > MAX_DILATION:
            raise ValueError(
                f"{num_layers} layers of dilation {dilation} from {begin} to {end} channels, behind {first}"
            )
        first = width_after
