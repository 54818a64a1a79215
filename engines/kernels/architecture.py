"""What the network CAM++ consists of: the arrays of its layers, as a checkpoint or an ONNX graph holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Affine = tuple[Array, Array]
"""Weight and bias of a convolution or product, or scale and shift of a normalisation."""

TAPS = 5  # of the convolution that halves the frames
LOCAL_TAPS = 3


@dataclass(frozen=True, slots=True)
class Residual:
    """Two convolutions and, where the first one halves the rows, a third one for the shortcut."""

    first: Affine
    second: Affine
    shortcut: Affine | None


@dataclass(frozen=True, slots=True)
class Layer:
    """norm (in), bottleneck (hidden, in), local (growth, hidden, 3), mask (inner, hidden) and (growth, inner)."""

    norm: Affine
    bottleneck: Affine
    local: Affine
    first_mask: Affine
    second_mask: Affine


@dataclass(frozen=True, slots=True)
class Block:
    """Dense layers, and what takes their output to the next block."""

    dilation: int
    layers: Sequence[Layer]
    norm: Affine
    transit: Affine


@dataclass(frozen=True, slots=True)
class Weights:
    """All of the network; normalisations that follow a convolution are folded into it."""

    first: Affine
    residuals: Sequence[Residual]
    last: Affine
    halving: Affine
    blocks: Sequence[Block]
    norm: Affine
    embedding: Affine
