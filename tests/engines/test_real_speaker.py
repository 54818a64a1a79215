"""CAM++ as it is pulled, on the bundled voices: batches change nothing, and voices are told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import SpeakerEngine, open_speaker
from tests.bundled_voices import RATE, voices
from tests.real_models import needs_speaker_models, speaker_models

pytestmark = [pytest.mark.slow, needs_speaker_models]


def engine(max_batch: int) -> SpeakerEngine:
    return open_speaker(inspect_speaker(speaker_models()[0]), max_batch=max_batch)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def test_a_vector_is_the_same_alone_in_a_batch_of_sixteen_and_among_other_lengths() -> None:
    spoken = np.concatenate([utterance for each in voices().values() for utterance in each])
    alone, together = engine(1), engine(16)
    equal = [alone.features(spoken[begin : begin + 2 * RATE]) for begin in range(0, 16 * 4000, 4000)]
    mixed = [alone.features(spoken[: int(seconds * RATE)]) for seconds in (1.0, 1.5, 1.5, 2.0, 3.0, 1.0, 2.5, 3.0)]
    for features in (equal, mixed):
        for row, each in zip(together.embed(features), features, strict=True):
            assert cosine(row, alone.embed([each])[0]) >= 0.9999


def test_voices_are_alike_to_themselves_and_not_to_others() -> None:
    model = engine(1)
    vectors = [(name, model.embed([model.features(each)])[0]) for name, spoken in voices().items() for each in spoken]
    pairs = [(a[0] == b[0], cosine(a[1], b[1])) for a, b in itertools.combinations(vectors, 2)]
    same, different = ([value for is_same, value in pairs if is_same == wanted] for wanted in (True, False))
    assert len(same) >= 6
    assert np.mean(same) >= 0.75
    assert np.mean(different) <= 0.40
    assert min(same) > max(different), "no threshold errs"
