"""Densely connected layers of CAM++ over (frames, channels), for compiled code.

A block's channels lie side by side in rows that are as wide as its last layer needs, so that a layer writes its own
behind those it has read: nothing is joined by copying. Rows come in sixes; what lies beyond the last frame is garbage.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.kernels.images import NO_FLOOR
from engines.kernels.packing import DEPTH
from engines.kernels.tiles import COLUMNS, ROWS, multiply, tile
from engines.kernels.vectors import WIDTH, Emitter, instruction
from engines.kernels.winograd import OUTPUTS, POINTS, row_in, row_out
from speech.compiling import compiled

BLOCK_ROWS = 150
"""Frames taken at a time: with `DEPTH` channels 150 KB, which the second-level cache keeps."""
FRAME_TILES = 42  # of 4 outputs
SEGMENT = 100
"""Frames that share a mask."""


def _normed(
    emit: Emitter, x: Any, x0: Any, scale: Any, scale0: Any, shift: Any, shift0: Any, y: Any, y0: Any, count: Any
) -> None:
    zero = emit.splat(0.0)
    with emit.loop(emit.builder.udiv(count, count.type(WIDTH))) as loop:
        offset = emit.times(loop.index, WIDTH)
        factor, more = emit.load(emit.at(scale, scale0, offset)), emit.load(emit.at(shift, shift0, offset))
        value = emit.fma(emit.load(emit.at(x, x0, offset)), factor, more)
        emit.store(emit.at_least(value, zero), emit.at(y, y0, offset))


normed = instruction("aiaiaiaii", _normed)
"""normed(x, x0, scale, scale0, shift, shift0, y, y0, count): y = ReLU(x * scale + shift), `count` in eights."""


def _scaled(emit: Emitter, x: Any, x0: Any, scale: Any, scale0: Any, y: Any, y0: Any, count: Any) -> None:
    with emit.loop(emit.builder.udiv(count, count.type(WIDTH))) as loop:
        offset = emit.times(loop.index, WIDTH)
        value = emit.builder.fmul(emit.load(emit.at(x, x0, offset)), emit.load(emit.at(scale, scale0, offset)))
        emit.store(value, emit.at(y, y0, offset))


scaled = instruction("aiaiaii", _scaled)
"""scaled(x, x0, scale, scale0, y, y0, count): y = x * scale, `count` in eights."""


@compiled
def project(  # type: ignore[no-untyped-def]
    ws, x, x_step, num_rows, depth, w, scale, shift, matrix, bias, columns, y, y_step, floor, scratch, segments
):
    """Normalise and ReLU (rows, depth), multiply by (depth, columns), add the bias, raise to `floor`."""
    for top in range(0, num_rows, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, num_rows - top)
        for begin in range(0, depth, DEPTH):
            part = min(DEPTH, depth - begin)
            for row in range(rows):
                normed(
                    ws, x + (top + row) * x_step + begin, w, scale + begin, w, shift + begin, ws, scratch + row * DEPTH,
                    part,
                )  # fmt: skip
            least = floor if begin + part == depth else NO_FLOOR
            for panel in range(0, columns, COLUMNS):
                for row in range(0, rows, ROWS):
                    to = y + (top + row) * y_step + panel
                    block = matrix + begin * columns + panel * part
                    if begin == 0:
                        tile(
                            ws, scratch + row * DEPTH, DEPTH, segments, 0, 1, part, w, block, w, bias + panel, 0,
                            ws, to, y_step, least,
                        )  # fmt: skip
                    else:
                        tile(
                            ws, scratch + row * DEPTH, DEPTH, segments, 0, 1, part, w, block, ws, to, y_step,
                            ws, to, y_step, least,
                        )  # fmt: skip


@compiled
def convolve_frames(ws, x, frames, dilation, depth, w, filters, bias, zeros, columns, y, scratch, segments):  # type: ignore[no-untyped-def]
    """Convolve (frames, depth) to (frames, columns), 3 wide, dilated; zeros lie around the frames.

    Reads 5 dilations of rows behind the last frame, and writes 4.
    """
    products = scratch + POINTS * FRAME_TILES * depth
    num_tiles = (frames + OUTPUTS * dilation - 1) // (OUTPUTS * dilation) * dilation
    for begin in range(0, num_tiles, FRAME_TILES):
        count = min(FRAME_TILES, num_tiles - begin)
        for place in range(count):
            # A tile's outputs are `dilation` apart; the tiles between them come next.
            row = (begin + place) // dilation * OUTPUTS * dilation + (begin + place) % dilation
            for channel in range(0, depth, WIDTH):
                row_in(
                    ws, x + (row - dilation) * depth + channel, dilation * depth,
                    ws, scratch + place * depth + channel, FRAME_TILES * depth,
                )  # fmt: skip
        for point in range(POINTS):
            multiply(
                ws, scratch + point * FRAME_TILES * depth, depth, count, segments, 0, 1, depth,
                w, filters + point * depth * columns, zeros, columns,
                products + point * FRAME_TILES * columns, columns, NO_FLOOR,
            )  # fmt: skip
        for place in range(count):
            row = (begin + place) // dilation * OUTPUTS * dilation + (begin + place) % dilation
            for column in range(0, columns, WIDTH):
                row_out(
                    ws, products + place * columns + column, FRAME_TILES * columns, w, bias + column,
                    ws, y + row * columns + column, dilation * columns, NO_FLOOR,
                )  # fmt: skip


@compiled
def segment_means(ws, x, channels, frames, y):  # type: ignore[no-untyped-def]
    """Write each segment's mean plus that of all frames, (segments, channels), and return how many there are."""
    count = (frames + SEGMENT - 1) // SEGMENT
    means, whole = np.zeros((count, channels), np.float32), np.zeros(channels, np.float32)
    for segment in range(count):
        begin, end = segment * SEGMENT, min(frames, (segment + 1) * SEGMENT)
        sums = means[segment]
        for frame in range(begin, end):
            sums += ws[x + frame * channels : x + (frame + 1) * channels]
        whole += sums
        sums /= np.float32(end - begin)
    whole /= np.float32(frames)
    for segment in range(count):
        ws[y + segment * channels : y + (segment + 1) * channels] = means[segment] + whole
    return count


@compiled
def masks(ws, x, count, hidden, w, plan, gate, growth, inner, y, segments):  # type: ignore[no-untyped-def]
    """Each segment's mask, (count, growth): sigmoid(second(ReLU(first(x))))."""
    multiply(ws, x, hidden, count, segments, 0, 1, hidden, w, plan[7], plan[8], gate, inner, gate, np.float32(0))
    multiply(ws, inner, gate, count, segments, 0, 1, gate, w, plan[9], plan[10], growth, y, growth, NO_FLOOR)
    for place in range(y, y + count * growth):
        ws[place] = np.float32(1) / (np.float32(1) + np.exp(-ws[place]))


@compiled
def write_masked(ws, x, frames, mask, growth, y, y_step):  # type: ignore[no-untyped-def]
    """Multiply (frames, growth) by the masks of their segments."""
    for frame in range(frames):
        scaled(ws, x + frame * growth, ws, mask + frame // SEGMENT * growth, ws, y + frame * y_step, growth)


@compiled
def statistics(ws, x, channels, frames, w, scale, shift, y):  # type: ignore[no-untyped-def]
    """Normalise (frames, channels) in place, ReLU; write mean and unbiased deviation, (2 channels,)."""
    total, squares = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    for frame in range(frames):
        here = x + frame * channels
        normed(ws, here, w, scale, w, shift, ws, here, channels)
        total += ws[here : here + channels]
    total /= np.float32(frames)
    for frame in range(frames):
        here = x + frame * channels
        squares += (ws[here : here + channels] - total) ** 2
    ws[y : y + channels] = total
    ws[y + channels : y + 2 * channels] = np.sqrt(squares / np.float32(frames - 1))
