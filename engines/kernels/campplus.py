"""The network CAM++ (Wang et al., 2023, arXiv 2303.00332), compiled: features of one utterance to its embedding.

The two-dimensional head runs by Winograd's filtering, the dense layers as products whose normalisation is done on the
way into the cache, and nothing is copied between layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.kernels.architecture import TAPS, Array
from engines.kernels.dense import (
    BLOCK_ROWS,
    FRAME_TILES,
    SEGMENT,
    convolve_frames,
    masks,
    project,
    segment_means,
    statistics,
    write_masked,
)
from engines.kernels.images import (
    LEFT,
    NO_FLOOR,
    SCRATCH_TILES,
    clear_border,
    convolve_first,
    convolve_plane,
    convolve_row,
    halve_rows,
    size,
)
from engines.kernels.packing import DEPTH, MARGIN, Packed
from engines.kernels.tiles import ROWS, multiply
from engines.kernels.winograd import POINTS
from speech.compiling import checksum, compile_ahead, compiled

_SOURCES = ("vectors.py", "tiles.py", "winograd.py", "images.py", "packing.py", "dense.py")
_IMAGES, _SCRATCH, _ROWS, _HIDDEN, _LOCAL, _GATES, _PARTS = 1, 5, 6, 8, 9, 10, 11
"""Places in a workspace: the input as an image, a large and three half images, transformed parts of them; two blocks'
rows, a layer's hidden rows, its output, what masks are made of, and normalised parts of rows."""
_CHAIN = 8  # the first of `segments` for what has more than a few


def workspace(packed: Packed, num_frames: int) -> Array:
    """Return what `embed` needs for utterances of up to `num_frames`. It is written to: one for each thread."""
    return np.zeros(_places(packed, num_frames)[-1], np.float32)


def embed(packed: Packed, features: Array, space: Array) -> Array:
    """Embed one utterance, (frames, bins) float32, three frames or more; `space` holds garbage afterwards.

    Holds no lock of Python's. Any thread.
    """
    embedding = np.empty(packed.head[-1], np.float32)
    places = _places(packed, len(features))
    if features.shape[1] != 8 * packed.head[1] or len(space) < places[-1]:
        raise ValueError(f"features of shape {features.shape} in a workspace of {len(space)} floats")
    _forward(
        np.ascontiguousarray(features, np.float32), packed.values, packed.head, packed.sizes, packed.layers,
        packed.blocks, places, space, embedding,
    )  # fmt: skip
    return embedding


def _places(packed: Packed, num_frames: int) -> npt.NDArray[np.int64]:
    """Where everything begins in a workspace; the last number is its size."""
    channels, bins = int(packed.head[0]), 8 * int(packed.head[1])
    hidden, growth, gate = packed.sizes.tolist()
    rows = -(-num_frames // (2 * ROWS)) * ROWS
    widest = int(packed.blocks[:, [3, 8]].max())
    half = size(bins // 2, num_frames, channels)
    num_segments = -(-rows // (SEGMENT * ROWS)) * ROWS
    last = ROWS * (2 * widest + int(packed.head[-1]))
    sizes = [
        size(bins, num_frames, 1), size(bins, num_frames, channels), half, half, half, 2 * SCRATCH_TILES * channels,
        rows * widest, rows * widest, (rows + 2 * MARGIN) * hidden, (rows + MARGIN) * growth,
        max(num_segments * (hidden + gate + growth), last),
        max(BLOCK_ROWS * DEPTH, POINTS * FRAME_TILES * (hidden + growth)),
    ]  # fmt: skip
    return np.cumsum([0, *sizes])


@compiled
def _head(ws, x, places, w, plan, wide, segments):  # type: ignore[no-untyped-def]
    """From features (frames, bins) to an image of an eighth of the rows; return where it is."""
    frames, bins = x.shape
    channels, zeros, scratch = plan[0], plan[3], places[_SCRATCH]
    sheet, source = places[0], places[_IMAGES]
    clear_border(ws, sheet, bins, frames, wide, 1)
    for row in range(bins):
        for frame in range(frames):
            ws[sheet + (row + 1) * wide + LEFT + frame] = x[frame, row]
    convolve_first(ws, sheet, source, bins, frames, wide, channels, w, plan[4], plan[5], segments, 1)
    rows, free = bins, (places[_IMAGES + 1], places[_IMAGES + 2], places[_IMAGES + 3])
    for number in range(4):
        first, first_bias, second, second_bias, matrix, bias = plan[6 + 6 * number : 12 + 6 * number]
        inner, shortcut, target = free
        if matrix >= 0:
            rows //= 2
            convolve_row(
                ws, source, inner, rows, frames, wide, channels, w, first, first_bias, zeros, scratch, segments, 1
            )
            halve_rows(ws, source, shortcut, rows, frames, wide, channels, w, matrix, bias, segments)
        else:
            shortcut = source
            convolve_plane(
                ws, source, inner, -1, rows, frames, wide, channels, w, first, first_bias, zeros, scratch, segments
            )
        convolve_plane(
            ws, inner, target, shortcut, rows, frames, wide, channels, w, second, second_bias, zeros, scratch, segments
        )
        source, free = target, (inner, free[1], source)
    rows //= 2
    convolve_row(ws, source, free[0], rows, frames, wide, channels, w, plan[30], plan[31], zeros, scratch, segments, 1)
    return free[0]


@compiled
def _layer(ws, block, step, filled, frames, dilation, places, w, sizes, plan, zeros, segments):  # type: ignore[no-untyped-def]
    """One dense layer: from the first `filled` channels of the block's rows to the next ones."""
    hidden, growth, gate = sizes
    num_rows = (frames + ROWS - 1) // ROWS * ROWS
    context, local, means = places[_HIDDEN] + MARGIN * hidden, places[_LOCAL], places[_GATES]
    project(
        ws, block, step, num_rows, filled, w, plan[1], plan[2], plan[3], plan[4], hidden, context, hidden,
        np.float32(0), places[_PARTS], segments,
    )  # fmt: skip
    ws[context + frames * hidden : context + num_rows * hidden] = 0.0
    convolve_frames(
        ws, context, frames, dilation, hidden, w, plan[5], plan[6], zeros, growth, local, places[_PARTS], segments
    )
    count = segment_means(ws, context, hidden, frames, means)
    inner = means + (count + ROWS - 1) // ROWS * ROWS * hidden
    mask = inner + (count + ROWS - 1) // ROWS * ROWS * gate
    masks(ws, means, count, hidden, w, plan, gate, growth, inner, mask, segments)
    write_masked(ws, local, frames, mask, growth, block + filled, step)


@compiled
def _halve_frames(ws, x, frames, wide, w, plan, y, y_step, segments):  # type: ignore[no-untyped-def]
    """ReLU of a convolution over all rows and five columns of an image, for every second column."""
    channels, rows = plan[0], plan[1]
    for row in range(rows):
        for tap in range(TAPS):
            segments[_CHAIN + row * TAPS + tap] = (row * wide + tap) * channels
    multiply(
        ws, x + wide * channels, 2 * channels, frames, segments, _CHAIN, rows * TAPS, channels, w, plan[32], plan[33],
        plan[2], y, y_step, np.float32(0),
    )  # fmt: skip


def _build(version: int) -> Any:
    def forward(x, w, head, sizes, layers, blocks, places, ws, embedding):  # type: ignore[no-untyped-def]
        assert version >= 0
        frames, bins = x.shape
        half = (frames + 1) // 2
        num_rows = (half + ROWS - 1) // ROWS * ROWS
        wide = (places[1] - places[0]) // (bins + 3)
        segments = np.zeros(_CHAIN + head[1] * TAPS, np.int64)  # the first one stays 0
        image = _head(ws, x, places, w, head, wide, segments)
        block, other, step = places[_ROWS], places[_ROWS + 1], blocks[0, 3]
        _halve_frames(ws, image, half, wide, w, head, block, step, segments)
        ws[places[_HIDDEN] : places[_LOCAL]] = 0.0
        layer = 0
        for number in range(len(blocks)):
            num_layers, dilation, filled = blocks[number, :3]
            for _ in range(num_layers):
                _layer(ws, block, step, filled, half, dilation, places, w, sizes, layers[layer], head[3], segments)
                layer += 1
                filled += sizes[1]
            _, scale, shift, matrix, bias, columns = blocks[number, 3:]
            after = blocks[number + 1, 3] if number + 1 < len(blocks) else columns
            project(
                ws, block, step, num_rows, filled, w, scale, shift, matrix, bias, columns, other, after, NO_FLOOR,
                places[_PARTS], segments,
            )  # fmt: skip
            block, other, step = other, block, after
        found = places[_GATES]
        statistics(ws, block, step, half, w, head[34], head[35], found)
        result = found + ROWS * 2 * step
        multiply(
            ws, found, 2 * step, 1, segments, 0, 1, 2 * step, w, head[36], head[37], len(embedding), result,
            len(embedding), NO_FLOOR,
        )  # fmt: skip
        embedding[:] = ws[result : result + len(embedding)]

    return compile_ahead(_SIGNATURE, forward)


_SIGNATURE = (
    "void(float32[:, ::1], float32[::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[::1],"
    " float32[::1], float32[::1])"
)
_forward = _build(checksum(Path(__file__).parent / name for name in _SOURCES))
