"""Distribution: fixed ranges, cumulative as Prometheus wants them."""

import math

import pytest

from batcher import Distribution


def test_bounds_are_inclusive_and_the_last_range_is_open() -> None:
    sizes = Distribution((1, 2, 4))
    for size in (1, 2, 3, 4, 5):
        sizes.observe(size)
    assert sizes.counts == [1, 1, 2, 1]
    assert (sizes.count, sizes.sum) == (5, 15)
    assert sizes.cumulative() == [(1, 1), (2, 2), (4, 4), (math.inf, 5)]


@pytest.mark.parametrize(("q", "bound"), [(0.2, 1), (0.5, 4), (0.8, 4), (1.0, math.inf)])
def test_quantile_is_the_bound_of_its_range(q: float, bound: float) -> None:
    sizes = Distribution((1, 2, 4))
    for size in (1, 2, 3, 4, 5):
        sizes.observe(size)
    assert sizes.quantile(q) == bound


def test_quantile_of_nothing_is_zero() -> None:
    assert Distribution((1,)).quantile(0.5) == 0.0
