"""When a stream's chunks are due: by the audio's clock, which the end of the audio stops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.session import Session


@pytest.mark.parametrize(
    ("end", "now", "is_ending", "due"),
    [
        (8000, 90.0, False, 100.7),  # ahead of the clock: a chunk that ends half a second into the audio
        (8000, 107.0, False, 107.2),  # live, or late
        (20800, 107.0, True, 107.0),  # the last of a stream: its final result waits for nothing else
        (20800, 90.0, True, 101.0),  # ahead of the clock; the silence behind its second does not put off its last words
    ],
)
def test_a_chunk_is_due_a_budget_after_its_last_sample_was_or_will_be_spoken_and_the_last_ones_at_once(
    end: int, now: float, is_ending: bool, due: float
) -> None:
    session: Any = SimpleNamespace(
        _started=100.0,
        _budget=0.2,
        _is_ending=is_ending,
        _sample_rate=16000,
        _framer=SimpleNamespace(num_samples=16000),
        _end_of=lambda window: end,
    )
    assert Session._deadline(cast(Session, session), cast(Any, None), now) == pytest.approx(due)
