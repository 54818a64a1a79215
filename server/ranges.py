"""Numbers in requests that must lie in a range."""

from __future__ import annotations

import math

from server.errors import BadRequest


def in_range(field: str, value: int, low: int, high: int) -> int:
    """Return `value`. Raises BadRequest naming the field and what is allowed."""
    if not low <= value <= high:
        raise BadRequest(f"{field} is {value}; allowed: {low} to {high}")
    return value


def finite_in_range(field: str, value: float, low: float, high: float) -> float:
    """Return `value`, neither NaN nor infinite. Raises BadRequest naming the field and what is allowed."""
    if not (math.isfinite(value) and low <= value <= high):
        raise BadRequest(f"{field} is {value}; allowed: {low:g} to {high:g}")
    return value
