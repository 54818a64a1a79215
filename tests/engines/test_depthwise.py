"""Depthwise convolutions as matrix products: the same numbers, for graphs with a fixed window alone."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.convert.depthwise import as_products, band
from engines.describe import inspect
from engines.icefall_streaming import IcefallStreamingEncoder
from engines.ort import OrtModel, OrtOptions
from recipes.u2pp.half import to_half
from speech.features import Fbank
from tests.engines.helpers import noise, open_model, windows
from tests.engines.test_transducers import MODELS


def encoder_of(name):
    return inspect(MODELS / name).streaming.encoder


def depthwise(model):
    """Count the convolutions over time of more than one channel by itself."""
    weights = {each.name: each.dims for each in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    return sum(len(weights[node.input[1]]) == 3 and weights[node.input[1]][1] == 1 for node in nodes)


@pytest.mark.parametrize("name", ["k2", "k3-streaming", "k4", "k5"])
def test_streams_are_encoded_the_same_without_a_depthwise_convolution(name):
    spec = inspect(MODELS / name).streaming
    graph = as_products(spec.encoder)
    before, after = (depthwise(onnx.load(spec.encoder)), depthwise(onnx.load_from_string(graph)))
    assert (before >= 2, after) == (True, 0)
    before, after = (IcefallStreamingEncoder(spec, 3, 3, OrtOptions(rewrite=rewrite)) for rewrite in (False, True))
    engine = open_model(MODELS / name).streaming
    fbank = Fbank(engine.framing.fbank)
    plans = [windows(engine, noise(4.0, seed)) for seed in range(3)]
    for step in range(5):
        features = fbank(np.stack([plan[step].samples for plan in plans]))
        wanted, got = (encoder.step([0, 1, 2], features, [step == 0] * 3) for encoder in (before, after))
        assert np.abs(got - wanted).max() < 1e-3 * max(1.0, np.abs(wanted).max())
        assert np.abs(wanted).max() > 0.1


def test_a_rewritten_graph_keeps_its_names_and_metadata():
    path = encoder_of("k2")
    old, new = OrtModel(path, OrtOptions()), OrtModel(path, OrtOptions(), as_products(path))
    assert (old.inputs, old.outputs.keys(), old.metadata) == (new.inputs, new.outputs.keys(), new.metadata)


@pytest.mark.parametrize("padding", [(0, 0), (7, 7), (3, 0), (0, 2)])
@pytest.mark.parametrize(("taps", "frames"), [(15, 8), (5, 20), (1, 4)])
def test_a_band_times_frames_is_their_convolution(taps, frames, padding):
    random = np.random.default_rng(0)
    kernel, heard = random.standard_normal((3, taps)), random.standard_normal((3, frames))
    padded = np.pad(heard, ((0, 0), padding))
    if padded.shape[1] < taps:
        assert band(kernel, frames, padding).shape[2] == 0
        return
    expected = [np.correlate(row, taps_of, "valid") for row, taps_of in zip(padded, kernel, strict=True)]
    assert np.allclose(np.einsum("ct,cto->co", heard, band(kernel, frames, padding)), expected, atol=1e-5)


def test_graphs_that_are_not_for_this_are_left_alone(tmp_path: Path):
    assert as_products(encoder_of("t1")) is None, "its windows may have any length"
    assert as_products(next((MODELS / "k2").glob("joiner*"))) is None
    to_half(encoder_of("k2"), tmp_path / "half.onnx")
    assert as_products(tmp_path / "half.onnx") is None
    assert as_products(MODELS / "w2" / "encoder.onnx") is not None, "WeNet's have a fixed window too"
