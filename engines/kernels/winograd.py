"""Convolutions 3 wide by Winograd's minimal filtering: four outputs from six products where twelve were.

Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015, arXiv 1509.09308, F(4, 3): polynomials at
0, 1, -1, 2, -2 and infinity. Images are (rows, columns, channels). `plane` transforms both axes (36 products where 144
were), `row` the columns alone (half of the products), which suits strides over rows. In float32 results differ from a
plain convolution by about 1e-5 of the largest. A `row` need not be one of an image: frames will do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engines.kernels.tiles import panels
from engines.kernels.vectors import Emitter, instruction

TAPS = 3
OUTPUTS = 4
POINTS = 6
_SIMPLE = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6]]
_FILTER = np.array([*_SIMPLE, [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]])

Array = npt.NDArray[np.float32]


def plane_filter(weight: npt.NDArray[Any]) -> Array:
    """Transform (out, in, 3, 3) to 36 matrices (in, out), each in `panels`."""
    points = np.einsum("pi,qj,ocij->pqco", _FILTER, _FILTER, weight.astype(np.float64))
    return np.concatenate([panels(matrix) for matrix in points.reshape(POINTS * POINTS, *points.shape[2:])])


def row_filter(weight: npt.NDArray[Any]) -> Array:
    """Transform (out, in, 3, 3) to 6 matrices (3 rows by in, out), each in `panels`."""
    points = np.einsum("qj,ocij->qico", _FILTER, weight.astype(np.float64))
    return np.concatenate([panels(matrix.reshape(-1, matrix.shape[-1])) for matrix in points])


def line_filter(weight: npt.NDArray[Any]) -> Array:
    """Transform (out, in, 3) to 6 matrices (in, out), each in `panels`."""
    points = np.einsum("qj,ocj->qco", _FILTER, weight.astype(np.float64))
    return np.concatenate([panels(matrix) for matrix in points])


def _to_points(emit: Emitter, x: list[Any]) -> list[Any]:
    """Six numbers in a row to their six points."""
    even, odd = emit.fma(-4.0, x[2], x[4]), emit.fma(-4.0, x[1], x[3])
    near, far = emit.sub(x[4], x[2]), emit.sub(x[3], x[1])
    return [
        emit.fma(4.0, x[0], emit.fma(-5.0, x[2], x[4])),
        emit.add(even, odd),
        emit.sub(even, odd),
        emit.fma(2.0, far, near),
        emit.fma(-2.0, far, near),
        emit.fma(4.0, x[1], emit.fma(-5.0, x[3], x[5])),
    ]


def _from_points(emit: Emitter, m: list[Any]) -> list[Any]:
    """Six points to four numbers in a row."""
    near, near_odd = emit.add(m[1], m[2]), emit.sub(m[1], m[2])
    far, far_odd = emit.add(m[3], m[4]), emit.sub(m[3], m[4])
    return [
        emit.add(m[0], emit.add(near, far)),
        emit.fma(2.0, far_odd, near_odd),
        emit.fma(4.0, far, near),
        emit.fma(8.0, far_odd, emit.add(near_odd, m[5])),
    ]


def _row_in(emit: Emitter, x: Any, x0: Any, step: Any, points: Any, p0: Any, p_step: Any) -> None:
    inputs = [emit.load(emit.at(x, x0, emit.times(step, place))) for place in range(POINTS)]
    for index, value in enumerate(_to_points(emit, inputs)):
        emit.store(value, emit.at(points, p0, emit.times(p_step, index)))


def _plane_in(emit: Emitter, x: Any, x0: Any, row: Any, step: Any, points: Any, p0: Any, p_step: Any) -> None:
    columns = []
    for place in range(POINTS):
        first = emit.at(x, x0, emit.times(step, place))
        columns.append(_to_points(emit, [emit.load(emit.at(first, emit.times(row, each))) for each in range(POINTS)]))
    for above in range(POINTS):
        for index, value in enumerate(_to_points(emit, [column[above] for column in columns])):
            emit.store(value, emit.at(points, p0, emit.times(p_step, above * POINTS + index)))


def _row_out(
    emit: Emitter, points: Any, p0: Any, p_step: Any, bias: Any, bias0: Any, y: Any, y0: Any, step: Any, floor: Any
) -> None:
    more, least = emit.load(emit.at(bias, bias0)), emit.splat(floor)
    inputs = [emit.load(emit.at(points, p0, emit.times(p_step, index))) for index in range(POINTS)]
    for place, value in enumerate(_from_points(emit, inputs)):
        emit.store(emit.at_least(emit.add(value, more), least), emit.at(y, y0, emit.times(step, place)))


def _plane_out(
    emit: Emitter, points: Any, p0: Any, p_step: Any, bias: Any, bias0: Any, y: Any, y0: Any, row: Any, step: Any,
    shortcut: Any = None, shortcut0: Any = None,
) -> None:  # fmt: skip
    more, zero = emit.load(emit.at(bias, bias0)), emit.splat(0.0)
    columns = []
    for index in range(POINTS):
        above = [emit.at(points, p0, emit.times(p_step, each * POINTS + index)) for each in range(POINTS)]
        columns.append(_from_points(emit, [emit.load(each) for each in above]))
    for above_index in range(OUTPUTS):
        for place, value in enumerate(_from_points(emit, [column[above_index] for column in columns])):
            offset = emit.builder.add(emit.times(row, above_index), emit.times(step, place))
            total = emit.add(value, more)
            if shortcut is not None:
                total = emit.add(total, emit.load(emit.at(shortcut, shortcut0, offset)))
            emit.store(emit.at_least(total, zero), emit.at(y, y0, offset))


row_in = instruction("aiiaii", _row_in)
"""row_in(x, x0, step, points, p0, p_step): 6 columns of 8 channels, `step` apart, to 6 points `p_step` apart."""
row_out = instruction("aiiaiaiif", _row_out)
"""row_out(points, p0, p_step, bias, bias0, y, y0, step, floor): 6 points of 8 channels to 4 columns; bias, floor."""
plane_in = instruction("aiiiaii", _plane_in)
"""plane_in(x, x0, row, step, points, p0, p_step): 6 rows of 6 columns of 8 channels to 36 points."""
plane_out = instruction("aiiaiaiii", _plane_out)
"""plane_out(points, p0, p_step, bias, bias0, y, y0, row, step): 36 points to 4 rows of 4 columns; bias and ReLU."""
plane_out_added = instruction("aiiaiaiiiai", _plane_out)
"""The same with (shortcut, shortcut0), laid out as `y`, added before the ReLU."""
