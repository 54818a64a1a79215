"""Convolutions of images (rows, columns, channels) with a border of zeros, for compiled code; see `winograd`, `tiles`.

An image lies at an offset of a flat array: one row of zeros above and below, `LEFT` columns of zeros on the left,
at least as many on the right (`width`). `w` holds weights: filters in panels, biases. Channels come in sixteens.
"""

from __future__ import annotations

import numpy as np

from engines.kernels.tiles import COLUMNS, ROWS, multiply, tile
from engines.kernels.vectors import WIDTH
from engines.kernels.winograd import (
    OUTPUTS,
    POINTS,
    plane_in,
    plane_out,
    plane_out_added,
    row_in,
    row_out,
)
from speech.compiling import compiled

LEFT = 2
PLANE_TILES = 30  # of 4 by 4 outputs: with their products and the filter they stay in 512 KB of cache; a power of
# two would put all points of a tile into the same few cache lines
ROW_TILES = 90
NO_FLOOR = np.float32(-np.inf)
SCRATCH_TILES = max(POINTS * POINTS * PLANE_TILES, 3 * POINTS * ROW_TILES)
"""Pixels that a transformed part of an image takes, and its products as many again."""


def width(num_columns: int) -> int:
    """Columns of an image in memory: room for whole tiles of 4 and 6, and for strides of 2."""
    return -(-num_columns // 12) * 12 + 4 * LEFT


def size(rows: int, num_columns: int, channels: int) -> int:
    """Floats of an image in memory; reading beyond the last row, as tiles do, stays inside."""
    return (rows + 3) * width(num_columns) * channels


@compiled
def clear_border(ws, y, rows, columns, wide, channels):  # type: ignore[no-untyped-def]
    """Set to zero what is not image: tiles wrote beyond its right end."""
    ws[y : y + wide * channels] = 0.0
    for row in range(1, rows + 1):
        first = y + row * wide * channels
        ws[first : first + LEFT * channels] = 0.0
        ws[first + (LEFT + columns) * channels : first + wide * channels] = 0.0
    ws[y + (rows + 1) * wide * channels : y + (rows + 2) * wide * channels] = 0.0


@compiled
def convolve_plane(ws, x, y, shortcut, rows, columns, wide, channels, w, filters, bias, zeros, scratch, segments):  # type: ignore[no-untyped-def]
    """ReLU of a 3 by 3 convolution, of `rows` in fours; `shortcut`, an image or -1, is added before."""
    line = wide * channels
    points, products = scratch, scratch + SCRATCH_TILES * channels
    step = PLANE_TILES * channels
    num_panels = channels // COLUMNS
    num_tiles = (columns + OUTPUTS - 1) // OUTPUTS
    for begin in range(0, num_tiles, PLANE_TILES):
        count = min(PLANE_TILES, num_tiles - begin)
        for row in range(0, rows, OUTPUTS):
            source = x + row * line + (OUTPUTS * begin + LEFT - 1) * channels
            target = (row + 1) * line + (OUTPUTS * begin + LEFT) * channels
            for place in range(count):
                here = source + OUTPUTS * place * channels
                for channel in range(0, channels, WIDTH):
                    plane_in(ws, here + channel, line, channels, ws, points + place * channels + channel, step)
            for point in range(POINTS * POINTS):
                for panel in range(num_panels):
                    matrix = filters + (point * num_panels + panel) * channels * COLUMNS
                    for place in range(0, count, ROWS):
                        at = point * step + place * channels
                        tile(
                            ws, points + at, channels, segments, 0, 1, channels, w, matrix, w, zeros, 0,
                            ws, products + at + panel * COLUMNS, channels, NO_FLOOR,
                        )  # fmt: skip
            for place in range(count):
                there = target + OUTPUTS * place * channels
                for channel in range(0, channels, WIDTH):
                    made, to = products + place * channels + channel, there + channel
                    if shortcut >= 0:
                        plane_out_added(
                            ws, made, step, w, bias + channel, ws, y + to, line, channels, ws, shortcut + to
                        )
                    else:
                        plane_out(ws, made, step, w, bias + channel, ws, y + to, line, channels)
    clear_border(ws, y, rows, columns, wide, channels)


@compiled
def convolve_row(ws, x, y, rows, columns, wide, channels, w, filters, bias, zeros, scratch, segments, free):  # type: ignore[no-untyped-def]
    """ReLU of a 3 by 3 convolution to `rows` with a stride of 2 over rows; overwrites `segments` from `free` on."""
    line = wide * channels
    points, products = scratch, scratch + SCRATCH_TILES * channels
    step = ROW_TILES * channels
    num_panels = channels // COLUMNS
    num_tiles = (columns + OUTPUTS - 1) // OUTPUTS
    for begin in range(0, num_tiles, ROW_TILES):
        count = min(ROW_TILES, num_tiles - begin)
        for row in range(rows):
            # Three rows are kept transformed; the last one of this row is the first one of the next.
            for source in range(2 * row + (1 if row else 0), 2 * row + 3):
                here = x + source * line + (OUTPUTS * begin + LEFT - 1) * channels
                there = points + source % 3 * POINTS * step
                for place in range(count):
                    for channel in range(0, channels, WIDTH):
                        at = place * channels + channel
                        row_in(ws, here + OUTPUTS * place * channels + channel, channels, ws, there + at, step)
            for above in range(3):
                segments[free + above] = (2 * row + above) % 3 * POINTS * step
            for point in range(POINTS):
                for panel in range(num_panels):
                    matrix = filters + (point * num_panels + panel) * 3 * channels * COLUMNS
                    for place in range(0, count, ROWS):
                        at = point * step + place * channels
                        tile(
                            ws, points + at, channels, segments, free, 3, channels, w, matrix, w, zeros, 0,
                            ws, products + at + panel * COLUMNS, channels, NO_FLOOR,
                        )  # fmt: skip
            target = y + (row + 1) * line + (OUTPUTS * begin + LEFT) * channels
            for place in range(count):
                for channel in range(0, channels, WIDTH):
                    made, to = products + place * channels + channel, target + OUTPUTS * place * channels + channel
                    row_out(ws, made, step, w, bias + channel, ws, to, channels, np.float32(0))
    clear_border(ws, y, rows, columns, wide, channels)


@compiled
def halve_rows(ws, x, y, rows, columns, wide, channels, w, matrix, bias, segments):  # type: ignore[no-untyped-def]
    """A 1 by 1 convolution to `rows` with a stride of 2 over rows; no ReLU, and the border is left as it is."""
    line, at = wide * channels, LEFT * channels
    for row in range(rows):
        multiply(
            ws, x + (2 * row + 1) * line + at, channels, columns, segments, 0, 1, channels, w, matrix, bias, channels,
            y + (row + 1) * line + at, channels, NO_FLOOR,
        )  # fmt: skip


@compiled
def convolve_first(ws, x, y, rows, columns, wide, channels, w, matrix, bias, segments, free):  # type: ignore[no-untyped-def]
    """ReLU of a 3 by 3 convolution of an image of one channel. `segments` from `free` on are overwritten."""
    for above in range(3):
        segments[free + above] = above * wide
    for row in range(rows):
        multiply(
            ws, x + row * wide + LEFT - 1, 1, columns, segments, free, 3, 3, w, matrix, bias, channels,
            y + ((row + 1) * wide + LEFT) * channels, channels, np.float32(0),
        )  # fmt: skip
    clear_border(ws, y, rows, columns, wide, channels)
