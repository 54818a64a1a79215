"""The benchmark's search for the largest number of streams; its servers are started by hand only."""

import pytest

from benchmarks.websocket_peer import Bisection


@pytest.mark.parametrize("first", [1, 4, 20])
@pytest.mark.parametrize("largest", [0, 1, 3, 4, 5, 17, 63, 64, 90])
def test_bisection_finds_the_largest_number_that_is_allowed(largest, first):
    search, tried = Bisection(first, 64), []
    while (number := search.next) is not None:
        tried.append(number)
        search.tell(number <= largest)
    assert search.low == min(largest, 64)
    assert len(tried) == len(set(tried)) <= 12
