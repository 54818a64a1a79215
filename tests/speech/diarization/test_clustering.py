import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.diarization.clustering import absorb_minor, by_appearance, cluster, join_similar
from speech.diarization.condense import condense, distinct
from speech.diarization.graph import neighbour_graph, num_kept, unit_rows
from speech.diarization.options import CHORUS, PRESETS, THREE_D_SPEAKER, WESPEAKER, AffinityOptions, ClusteringOptions
from speech.diarization.spectral import gap_count, kmeans_labels, smallest_eigenpairs, spectral_labels
from speech.errors import BadOption


def voices(sizes: list[int], *, dim: int = 192, spread: float = 0.8, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows around random directions, shuffled; and whose they are. Same-voice cosine about 1 / (1 + spread^2)."""
    rng = np.random.default_rng(seed)
    centres = unit_rows(rng.standard_normal((len(sizes), dim)))
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = centres[truth] + spread * rng.standard_normal((len(truth), dim)) / np.sqrt(dim)
    return rows.astype(np.float32), truth


def same_partition(left: np.ndarray, right: np.ndarray) -> bool:
    return (
        len(set(zip(left.tolist(), right.tolist(), strict=True))) == len(set(left.tolist())) == len(set(right.tolist()))
    )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("sizes", [[60], [30, 25], [40, 20, 30], [50, 20, 30, 40, 25]])
def test_every_preset_finds_voices_that_are_far_apart(name: str, sizes: list[int]) -> None:
    rows, truth = voices(sizes)

    assert same_partition(cluster(rows, PRESETS[name].clustering), truth)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_nought_one_and_two_pieces_work(name: str, count: int) -> None:
    rows, _ = voices([1] * count) if count else (np.zeros((0, 192), np.float32), None)
    labels = cluster(rows, PRESETS[name].clustering)

    assert labels.tolist() in ([0] * count, [0, 1])
    assert cluster(rows, PRESETS[name].clustering, min_speakers=2).tolist() == list(range(count))


@pytest.mark.parametrize("count", range(2, 45))
def test_wespeaker_and_3d_speaker_take_every_small_number_of_pieces(count: int) -> None:
    rows, _ = voices([count - count // 2, count // 2])
    for options in (WESPEAKER.clustering, THREE_D_SPEAKER.clustering):
        assert cluster(rows, options).shape == (count,)


@given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 5), st.sampled_from(sorted(PRESETS)))
def test_the_number_of_speakers_stays_in_its_range(count: int, least: int, more: int, name: str) -> None:
    rows = np.random.default_rng(count).standard_normal((count, 16)).astype(np.float32)
    labels = cluster(rows, PRESETS[name].clustering, min_speakers=least, max_speakers=least + more)

    assert min(least, count) <= len(np.unique(labels)) <= least + more or count == 0


@pytest.mark.parametrize("exact", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [20, 120])
def test_an_exact_number_is_exact(exact: int, count: int) -> None:
    rows, _ = voices([count // 2, count // 2])

    labels = cluster(rows, CHORUS.clustering, min_speakers=exact, max_speakers=exact)

    assert len(np.unique(labels)) == exact


def test_two_clusterings_of_the_same_rows_are_equal() -> None:
    rows, _ = voices([40, 35, 30], spread=2.5)
    for options in (preset.clustering for preset in PRESETS.values()):
        assert np.array_equal(cluster(rows, options), cluster(rows, options))


def test_speakers_are_numbered_by_first_appearance() -> None:
    assert by_appearance(np.array([7, 7, 2, 9, 2])).tolist() == [0, 0, 1, 2, 1]
    rows, _ = voices([30, 30, 30])
    _, first = np.unique(cluster(rows, CHORUS.clustering), return_index=True)
    assert first.tolist() == sorted(first.tolist())


def test_many_pieces_are_gathered_first_and_give_the_same_speakers() -> None:
    rows, truth = voices([900, 500, 700])
    options = ClusteringOptions(max_points=200)

    assert same_partition(cluster(rows, options), truth)


def test_gathering_makes_at_most_so_many_unit_rows() -> None:
    rows, _ = voices([300, 300])
    groups, members = condense(unit_rows(rows), 50)

    assert len(groups) <= 50
    assert set(members.tolist()) == set(range(len(groups)))
    assert np.allclose(np.linalg.norm(groups, axis=1), 1.0, atol=1e-5)


def test_a_check_that_raises_ends_the_work_in_its_middle() -> None:
    class Stopped(Exception):
        pass

    rows = np.random.default_rng(0).standard_normal((1500, 32)).astype(np.float32)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    cluster(rows, ClusteringOptions(), check=count)
    needed, calls = calls, 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == needed // 2:
            raise Stopped

    with pytest.raises(Stopped):
        cluster(rows, ClusteringOptions(), check=stop)
    assert needed > 100  # often: a cancelled call does not wait


def test_what_is_played_again_and_again_makes_no_speakers_of_its_own() -> None:
    """Four copies of each piece are each other's nearest neighbours, and fell apart from the rest of their voice."""
    once, truth = voices([14, 12, 13, 11])
    rng = np.random.default_rng(2)
    rows = np.concatenate([once + 0.02 * rng.standard_normal(once.shape) for _ in range(4)]).astype(np.float32)

    assert same_partition(cluster(rows, CHORUS.clustering), np.tile(truth, 4))


def test_repeats_never_keep_from_the_number_asked_for() -> None:
    rows = np.repeat(voices([1])[0], 30, axis=0)

    assert cluster(rows, CHORUS.clustering).max() == 0
    assert len(np.unique(cluster(rows, CHORUS.clustering, min_speakers=3, max_speakers=3))) == 3


def test_distinct_rows_are_each_others_less_than_the_cosine() -> None:
    rows = unit_rows(voices([20, 20], spread=0.25)[0])
    kept, labels = distinct(rows, 0.94)

    similar = kept @ kept.T
    assert 2 < len(kept) < 40
    assert np.all(similar[~np.eye(len(kept), dtype=bool)] < 0.94)
    assert np.all((rows * kept[labels]).sum(axis=1) >= 0.94 - 1e-6)


def test_rows_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(BadOption, match="finite"):
        cluster(np.full((3, 4), np.nan, np.float32), CHORUS.clustering)


def test_equal_rows_are_one_speaker() -> None:
    rows = np.ones((80, 8), np.float32)
    for preset in PRESETS.values():
        assert cluster(rows, preset.clustering).tolist() == [0] * 80


@pytest.mark.parametrize(
    ("num_points", "expected"),
    [(5, 3), (11, 9), (12, 10), (999, 10), (1000, 10), (2000, 20)],
)
def test_wespeaker_keeps_ten_neighbours_and_one_in_a_hundred_of_many(num_points: int, expected: int) -> None:
    # max(n - 10, 2) smallest of a row are dropped below 1000 points, int(0.99 n) from there on.
    assert num_kept(num_points, WESPEAKER.clustering.affinity) == expected


@pytest.mark.parametrize(("num_points", "expected"), [(4, 4), (40, 6), (500, 6), (1000, 12)])
def test_3d_speaker_keeps_its_share_and_six_at_least(num_points: int, expected: int) -> None:
    assert num_kept(num_points, THREE_D_SPEAKER.clustering.affinity) == expected


@pytest.mark.parametrize("options", [WESPEAKER.clustering.affinity, THREE_D_SPEAKER.clustering.affinity])
def test_the_graph_is_the_dense_recipe_s(options: AffinityOptions) -> None:
    units = unit_rows(np.random.default_rng(3).standard_normal((300, 24)))
    dense = (units @ units.T).astype(np.float64)
    for row in dense:
        drop = np.argsort(row)[: len(row) - num_kept(len(row), options)]
        if options.is_binary:
            row[:] = 1.0
        row[drop] = 0.0
    dense = 0.5 * (dense + dense.T)
    np.fill_diagonal(dense, 0.0)

    assert np.allclose(neighbour_graph(units, options).toarray(), dense, atol=1e-6)


@pytest.mark.parametrize("sizes", [[150, 150], [100, 100, 100], [300]])
def test_lanczos_gives_the_dense_solver_s_eigenpairs(sizes: list[int]) -> None:
    rows, _ = voices(sizes, spread=2.0)
    graph = neighbour_graph(unit_rows(rows), AffinityOptions(min_kept=10, is_binary=True))
    laplacian = np.diag(np.asarray(abs(graph).sum(axis=1)).ravel()) - graph.toarray()

    values, vectors = smallest_eigenpairs(graph, 8)

    assert np.allclose(values, np.linalg.eigvalsh(laplacian)[:8], atol=1e-4)
    assert np.allclose(laplacian @ vectors, vectors * values, atol=1e-3)
    assert np.allclose(vectors.T @ vectors, np.eye(8), atol=1e-6)


def test_parts_of_a_graph_are_counted_and_not_guessed() -> None:
    rows, truth = voices([40, 40, 40, 40, 40, 40], spread=0.2)
    graph = neighbour_graph(unit_rows(rows), AffinityOptions(min_kept=8))
    values, _ = smallest_eigenpairs(graph, 9)

    assert np.count_nonzero(values < 1e-9) == 6
    assert same_partition(spectral_labels(graph, 1, 15), truth)


def test_the_largest_gap_within_the_range_is_the_number() -> None:
    values = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 9.0])

    assert gap_count(values, 1, 5) == 3
    assert gap_count(values, 4, 5) == 5
    assert gap_count(values, 1, 2) in (1, 2)
    assert gap_count(values[:1], 1, 5) == 1


def test_k_means_separates_what_is_apart() -> None:
    points = np.repeat(np.eye(3), 5, axis=0)

    assert same_partition(kmeans_labels(points, 3, restarts=5, seed=0), np.repeat([0, 1, 2], 5))


def test_minor_clusters_go_to_the_nearest_larger_one() -> None:
    units = unit_rows(np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [0.2, 1], [0.3, 1]]))

    assert absorb_minor(units, np.array([0, 0, 0, 1, 1, 1, 2]), 1).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert absorb_minor(units, np.array([0, 0, 0, 1, 1, 1, 2]), 9).tolist() == [0] * 7
    assert len(set(absorb_minor(units, np.array([0, 0, 0, 1, 1, 1, 2]), 9, at_least=2).tolist())) == 2


def test_similar_clusters_are_joined_and_no_more_are_left_than_allowed() -> None:
    units = unit_rows(np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]]))
    labels = np.array([0, 1, 2, 3])

    assert join_similar(units, labels, 0.8).tolist() == [0, 0, 1, 2]
    assert join_similar(units, labels, 0.8, at_least=4).tolist() == [0, 1, 2, 3]
    assert len(set(join_similar(units, labels, 2.0, at_most=2).tolist())) == 2
