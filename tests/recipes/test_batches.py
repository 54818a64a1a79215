"""What goes into a batch, and which process gets it."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is installed for recipes only")
pytest.importorskip("sentencepiece")

from recipes.synthesis.shards import Utterance
from recipes.u2pp.data import Share, training_batches, with_pairs


class Letters:
    """Stands in for Tokens."""

    def encode(self, text):
        return [ord(letter) for letter in text]


@pytest.fixture(scope="module")
def pool():
    random = np.random.default_rng(1)
    sizes = random.integers(100, 700, 600)
    return [
        Utterance(random.normal(8, 3, (size, 80)).astype(np.float16), f"U{index}") for index, size in enumerate(sizes)
    ]


def batches(pool, rank=0, world=1, frames=3000):
    share = Share(np.random.default_rng(5), rank, world)
    return list(training_batches(pool, Letters(), frames, np.random.default_rng([5, rank]), share))


def test_little_of_a_batch_is_padding(pool):
    made = batches(pool)
    computed = sum(batch.features.shape[0] * batch.features.shape[1] for batch in made)
    assert sum(int(batch.lengths.sum()) for batch in made) > 0.75 * computed


def test_a_tenth_are_pairs_that_say_both(pool):
    mixed = with_pairs(pool, np.random.default_rng(2))
    pairs = [(one, index) for index, one in enumerate(mixed) if " " in one.transcript]
    assert 30 < len(pairs) < 90
    for pair, index in pairs:
        first, second = pair.transcript.split()
        assert first == f"U{index}"
        gap = len(pair.features) - len(pool[index].features) - len(pool[int(second[1:])].features)
        assert 0 <= gap < 120
        assert np.array_equal(pair.features[: len(pool[index].features)], pool[index].features)


def test_processes_share_the_pool_and_get_batches_of_similar_length_at_the_same_time(pool):
    first, second = batches(pool, 0, 2), batches(pool, 1, 2)
    assert len(first) == len(second) > 10
    said = [{tuple(tokens) for batch in made for tokens in batch.tokens if tokens} for made in (first, second)]
    assert len(said[0] & said[1]) == 0
    longest = [[batch.features.shape[1] for batch in made] for made in (first, second)]
    assert np.corrcoef(longest)[0, 1] > 0.8


def test_a_pool_of_less_than_a_batch_serves_every_process(pool):
    for rank in range(3):
        assert len(batches(pool[:2], rank, 3, frames=100_000)) == 1
