"""Checkpoints to graphs: what PyTorch computed with the publishers' classes, and what a hostile pickle gets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from engines.convert.campplus import write_campplus
from engines.convert.checkpoint import read_checkpoint, tensors
from engines.convert.segmentation import write_segmentation
from engines.errors import BadModel
from engines.ort import OrtModel, OrtOptions
from engines.pull.store import installed
from recipes.speaker.record_references import LENGTHS, features, random_weights, samples
from tests.engines import checkpoints

DATA = Path(__file__).parents[1] / "data" / "speaker"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], Path]:
    weights = random_weights(json.loads(str(np.load(DATA / "campplus.npz")["shapes"])))
    path = tmp_path_factory.mktemp("campplus") / "model.onnx"
    assert write_campplus(weights, path, {"framework": "3d-speaker"}) == 6
    return weights, path


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_campplus_computes_what_3d_speakers_class_does(
    small: tuple[dict[str, np.ndarray], Path], num_frames: int
) -> None:
    expected = np.load(DATA / "campplus.npz")[f"y:{num_frames}"]
    found = OrtModel(small[1], OrtOptions()).run({"feature": features(num_frames)})["embedding"]
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=2e-4)


def test_campplus_of_a_row_is_that_of_its_batch(small: tuple[dict[str, np.ndarray], Path]) -> None:
    model = OrtModel(small[1], OrtOptions())
    batch = features(203, batch=3)
    together = model.run({"feature": batch})["embedding"]
    for row in range(3):
        alone = model.run({"feature": batch[row : row + 1]})["embedding"]
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_campplus_has_no_activation_at_its_end(small: tuple[dict[str, np.ndarray], Path]) -> None:
    values = OrtModel(small[1], OrtOptions()).run({"feature": features(200, batch=16)})["embedding"]
    assert 0.2 < (values < 0).mean() < 0.8


def test_other_weights_are_no_campplus(small: tuple[dict[str, np.ndarray], Path], tmp_path: Path) -> None:
    weights = small[0]
    missing = {name: value for name, value in weights.items() if name != "head.bn1.bias"}
    with pytest.raises(BadModel, match="not CAM"):
        write_campplus({**missing, "more": np.zeros(3, np.float32)}, tmp_path / "x.onnx", {})
    with pytest.raises(BadModel, match="left over, as more"):
        write_campplus({**weights, "more": np.zeros(3, np.float32)}, tmp_path / "x.onnx", {})
    assert not (tmp_path / "x.onnx").exists()


def test_segmentation_computes_what_pyannotes_class_does(tmp_path: Path) -> None:
    recorded = np.load(DATA / "segmentation.npz")
    weights = random_weights(json.loads(str(recorded["shapes"])))
    weights |= {name.removeprefix("value:"): recorded[name] for name in recorded.files if name.startswith("value:")}
    write_segmentation(weights, tmp_path / "model.onnx", {})
    found = OrtModel(tmp_path / "model.onnx", OrtOptions()).run({"x": samples()})["y"]
    assert found.shape == recorded["y"].shape
    assert recorded["y"].std() > 0.01
    np.testing.assert_allclose(found, recorded["y"], atol=2e-4)
    np.testing.assert_allclose(np.exp(found).sum(axis=-1), 1.0, atol=1e-5)


def test_weights_of_another_network_are_no_segmentation(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="not pyannote"):
        write_segmentation({"x": np.zeros(3, np.float32)}, tmp_path / "model.onnx", {})


def test_published_campplus_gives_the_embedding_that_pytorch_gives() -> None:
    folder = installed("campplus")
    if folder is None:
        pytest.skip("campplus is not in the cache: `chorus models pull campplus` (81 MB) makes this test run")
    expected = np.load(DATA / "campplus.npz")["published"]
    found = OrtModel(folder / "model.onnx", OrtOptions()).run({"feature": features(298)})["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


# --- checkpoints


def test_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tree = {
        "a.weight": rng.standard_normal((3, 4, 5)).astype(np.float32),
        "count": np.array([7], np.int64),
        "state_dict": {"b": rng.standard_normal(6).astype(np.float32)},
        "version": 2,
        "scalar": np.array(1.5, np.float32),
    }
    checkpoints.write(tmp_path / "x.pt", tree)
    found = read_checkpoint(tmp_path / "x.pt")
    np.testing.assert_array_equal(found["a.weight"], tree["a.weight"])
    np.testing.assert_array_equal(found["state_dict"]["b"], tree["state_dict"]["b"])
    assert (found["version"], found["count"].tolist(), float(found["scalar"])) == (2, [7], 1.5)
    assert set(tensors(found)) == {"a.weight", "scalar"}


def test_transposed_and_offset_tensors_are_read_where_they_lie(tmp_path: Path) -> None:
    storage = np.arange(10, dtype=np.float32)
    checkpoints.write_view(tmp_path / "x.pt", storage, (2, 3), (1, 2), 3)
    assert read_checkpoint(tmp_path / "x.pt")["x"].tolist() == [[3, 5, 7], [4, 6, 8]]


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((2, 3), (3, 2), 4), ((11,), (1,), 0), ((2,), (-1,), 5), ((1,), (1,), -1)]
)
def test_tensor_outside_of_its_storage_is_refused(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    checkpoints.write_view(tmp_path / "x.pt", np.arange(10, dtype=np.float32), shape, strides, offset)
    with pytest.raises(BadModel, match="does not fit a storage of 10"):
        read_checkpoint(tmp_path / "x.pt")


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_pickle_that_would_run_a_command_is_refused_by_name_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints.write_pickle(tmp_path / "x.pt", {"weight": _Hostile()})
    with pytest.raises(BadModel, match=r"asks for posix\.system; only tensors are read"):
        read_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__"])
def test_no_builtin_is_reached(tmp_path: Path, name: str) -> None:
    import builtins

    checkpoints.write_pickle(tmp_path / "x.pt", {"weight": getattr(builtins, name)})
    with pytest.raises(BadModel, match="only tensors are read"):
        read_checkpoint(tmp_path / "x.pt")


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"not a zip")
    with pytest.raises(BadModel, match="not a PyTorch checkpoint"):
        read_checkpoint(path)
    checkpoints.write(path, {"a": np.zeros(4, np.float32)}, break_storage=True)
    with pytest.raises(BadModel, match="has 3 numbers, 4 are announced"):
        read_checkpoint(path)
    checkpoints.write_pickle(path, [1, 2])
    with pytest.raises(BadModel, match="holds a list"):
        read_checkpoint(path)
    checkpoints.write_pickle(path, {"a": 1})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadModel, match="not a PyTorch checkpoint"):
        read_checkpoint(path)
