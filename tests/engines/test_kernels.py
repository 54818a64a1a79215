"""CAM++ in compiled kernels against the same weights in ONNX Runtime; and when which of them is taken."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from engines.convert import campplus_weights
from engines.convert.campplus import write_campplus
from engines.convert.campplus_weights import read_campplus
from engines.kernels import campplus
from engines.kernels.architecture import Weights
from engines.kernels.packing import Packed
from engines.ort import OrtModel, OrtOptions
from engines.pull.store import installed
from engines.speaker import network
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import SpeakerEngine, open_speaker
from recipes.speaker.record_references import features, random_weights

DATA = Path(__file__).parents[1] / "data"
LAYERS = (2, 3, 2)


def norm(name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from ((f"{name}.{part}", (size,)) for part in ("weight", "bias", "running_mean", "running_var"))


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The published sizes, with fewer layers."""
    for name, channels, kernel in [("conv1", 1, 3), ("conv2", 32, 3)]:
        yield f"head.{name}.weight", (32, channels, kernel, kernel)
        yield from norm(f"head.bn{name[-1]}", 32)
    for stage in (1, 2):
        for unit in (0, 1):
            for part in (1, 2):
                yield f"head.layer{stage}.{unit}.conv{part}.weight", (32, 32, 3, 3)
                yield from norm(f"head.layer{stage}.{unit}.bn{part}", 32)
        yield f"head.layer{stage}.0.shortcut.0.weight", (32, 32, 1, 1)
        yield from norm(f"head.layer{stage}.0.shortcut.1", 32)
    yield "xvector.tdnn.linear.weight", (128, 320, 5)
    yield from norm("xvector.tdnn.nonlinear.batchnorm", 128)
    width = 128
    for block, count in enumerate(LAYERS, 1):
        for layer in range(1, count + 1):
            name = f"xvector.block{block}.tdnnd{layer}"
            yield from norm(f"{name}.nonlinear1.batchnorm", width)
            yield f"{name}.linear1.weight", (128, width, 1)
            yield from norm(f"{name}.nonlinear2.batchnorm", 128)
            yield f"{name}.cam_layer.linear_local.weight", (32, 128, 3)
            yield f"{name}.cam_layer.linear1.weight", (64, 128, 1)
            yield f"{name}.cam_layer.linear1.bias", (64,)
            yield f"{name}.cam_layer.linear2.weight", (32, 64, 1)
            yield f"{name}.cam_layer.linear2.bias", (32,)
            width += 32
        yield from norm(f"xvector.transit{block}.nonlinear.batchnorm", width)
        yield f"xvector.transit{block}.linear.weight", (width // 32 * 16, width, 1)
        width = width // 32 * 16
    yield from norm("xvector.out_nonlinear.batchnorm", width)
    yield "xvector.dense.linear.weight", (48, 2 * width, 1)
    yield from ((f"xvector.dense.nonlinear.batchnorm.{part}", (48,)) for part in ("running_mean", "running_var"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("campplus")
    assert write_campplus(random_weights(dict(shapes())), made / "model.onnx", {}) == 48
    return made


@pytest.fixture(scope="module")
def graph(folder: Path) -> OrtModel:
    return OrtModel(folder / "model.onnx", OrtOptions())


@pytest.fixture(scope="module")
def weights(folder: Path) -> Weights:
    found = read_campplus(folder / "model.onnx")
    assert found is not None
    return found


def require_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() < 5e-5 * np.abs(expected).max()


@pytest.mark.parametrize("num_frames", [3, 4, 5, 11, 12, 13, 24, 25, 97, 199, 200, 201, 298, 402, 793])
def test_kernels_compute_what_the_graph_does(weights: Weights, graph: OrtModel, num_frames: int) -> None:
    packed = Packed(weights)
    noise = features(num_frames, batch=1)
    found = campplus.embed(packed, noise[0], campplus.workspace(packed, num_frames))
    require_same(found, graph.run({"feature": noise})["embedding"][0])


def test_a_used_workspace_of_a_longer_utterance_changes_nothing(weights: Weights) -> None:
    packed = Packed(weights)
    space = campplus.workspace(packed, 500)
    fresh = [campplus.embed(packed, features(count)[0], campplus.workspace(packed, count)) for count in (500, 7, 123)]
    space[:] = 1e3
    for expected, count in zip(fresh, (500, 7, 123), strict=True):
        assert np.array_equal(campplus.embed(packed, features(count)[0], space), expected)


def test_a_workspace_that_is_too_small_is_refused(weights: Weights) -> None:
    packed = Packed(weights)
    with pytest.raises(ValueError, match="workspace"):
        campplus.embed(packed, features(120)[0], campplus.workspace(packed, 50))
    with pytest.raises(ValueError, match="shape"):
        campplus.embed(packed, features(50)[0, :, :40], campplus.workspace(packed, 50))


def unfolded(model: onnx.ModelProto) -> None:
    """Give constants other names, and the first convolution a normalisation behind it, as exporters may."""
    for index, constant in enumerate(model.graph.initializer):
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                if name == constant.name:
                    node.input[place] = f"onnx::{index}"
        constant.name = f"onnx::{index}"
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    parts = {"scale": 2.0, "shift": 0.0, "mean": 0.0, "var": 4.0 - 1e-5}
    for name, value in parts.items():
        model.graph.initializer.append(numpy_helper.from_array(np.full(32, value, np.float32), name))
    output, first.output[0] = first.output[0], "raw"
    place = list(model.graph.node).index(first) + 1
    model.graph.node.insert(place, helper.make_node("BatchNormalization", ["raw", *parts], [output], epsilon=1e-5))


def test_other_exporters_graphs_are_read_too(folder: Path, weights: Weights, tmp_path: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    unfolded(model)
    onnx.save(model, tmp_path / "model.onnx")
    found = read_campplus(tmp_path / "model.onnx")
    assert found is not None
    assert np.allclose(Packed(found).values, Packed(weights).values, atol=1e-5)


@pytest.mark.parametrize("name", ["speaker-wespeaker", "speaker-3dspeaker", "speaker-sherpa", "k2"])
def test_other_networks_are_not_taken_for_it(name: str) -> None:
    assert read_campplus(next((DATA / "models" / name).glob("*.onnx"))) is None


def test_sizes_that_the_kernels_do_not_take_are_refused(weights: Weights) -> None:
    half = replace(weights, embedding=(weights.embedding[0][:24], weights.embedding[1][:24]))
    with pytest.raises(ValueError, match="24 columns"):
        Packed(half)
    with pytest.raises(ValueError, match="layers of dilation"):
        Packed(replace(weights, blocks=weights.blocks[1:]))


# --- which of the two an engine runs


@pytest.fixture
def always_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "GAIN", 1e9)


@pytest.mark.usefixtures("always_faster")
def test_an_engine_gives_the_same_embeddings_with_and_without_the_kernels(folder: Path) -> None:
    rewritten, plain = engines(folder)
    assert (rewritten.network, plain.network) == ("compiled", "onnxruntime")
    assert rewritten.fingerprint == plain.fingerprint
    utterances = [features(count)[0] for count in (50, 120, 50, 1100)]
    require_same(rewritten.embed(utterances), plain.embed(utterances))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(rewritten.embed, [utterances] * 8):
            assert np.array_equal(found, rewritten.embed(utterances))


def engines(folder: Path) -> list[SpeakerEngine]:
    description = inspect_speaker(folder)
    return [open_speaker(description, OrtOptions(rewrite=rewrite)) for rewrite in (True, False)]


@pytest.mark.usefixtures("always_faster")
def test_kernels_that_compute_something_else_are_not_taken(
    folder: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = weights.embedding[1].copy()
    bias[7] += 0.01
    wrong = replace(weights, embedding=(weights.embedding[0], bias))
    monkeypatch.setattr(campplus_weights, "read_campplus", lambda path: wrong)
    assert engines(folder)[0].network == "onnxruntime"


def test_kernels_that_are_slower_are_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "GAIN", 0.0)
    assert engines(folder)[0].network == "onnxruntime"


def test_graphs_on_several_threads_stay_in_onnx_runtime(folder: Path) -> None:
    assert open_speaker(inspect_speaker(folder), OrtOptions(intra_threads=2)).network == "onnxruntime"


@pytest.mark.usefixtures("always_faster")
def test_published_weights_give_the_embedding_that_pytorch_gives() -> None:
    place = installed("campplus")
    if place is None:
        pytest.skip("campplus is not in the cache: `chorus models pull campplus` (81 MB) makes this test run")
    engine = open_speaker(inspect_speaker(place))
    assert engine.network == "compiled"
    expected = np.load(DATA / "speaker" / "campplus.npz")["published"]
    np.testing.assert_allclose(engine.embed(list(features(298))), expected, atol=1e-4)
