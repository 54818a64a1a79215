"""Cosines, means and agreement of speaker vectors."""

from __future__ import annotations

import numpy as np
import pytest

from speech.errors import BadOption
from speech.verification.vectors import centre, consistency, cosine, unit


def test_cosines_do_not_depend_on_lengths() -> None:
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, 192)).astype(np.float32)
    expected = float(np.dot(first, second) / (np.linalg.norm(first) * np.linalg.norm(second)))
    assert cosine(first * 7, second * 1e-3) == pytest.approx(expected, abs=1e-6)
    assert cosine(first, first) == pytest.approx(1.0, abs=1e-6)
    assert cosine(first, first) <= 1.0


def test_a_centre_gives_every_voice_the_same_weight() -> None:
    voices = np.array([[100.0, 0.0], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(centre(voices), [np.sqrt(0.5), np.sqrt(0.5)], atol=1e-6)


def test_consistency_names_the_odd_voice() -> None:
    assert consistency(np.array([[1, 0]], np.float32)) == 1.0
    alike = np.array([[1.0, 0.1], [1.0, 0.0], [1.0, -0.1]], np.float32)
    odd = np.array([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0]], np.float32)
    assert consistency(alike) > 0.98
    assert consistency(odd) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_vectors_without_a_direction_are_refused(value: float) -> None:
    with pytest.raises(BadOption, match="no direction"):
        unit(np.full((2, 4), value, np.float32))
