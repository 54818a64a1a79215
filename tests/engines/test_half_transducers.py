"""Transducers in float16, inputs and outputs included or not: converted here from the tiny float32 ones."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from engines.describe import inspect
from engines.icefall_offline import IcefallOfflineEncoder
from engines.icefall_streaming import IcefallStreamingEncoder
from engines.ort import OrtOptions
from engines.recordings import OfflineItem
from recipes.u2pp.half import halve_folder
from speech.features import Fbank
from speech.search.transducer import TransducerOptions
from tests.engines.helpers import noise, open_model, same_nbest, stream, windows
from tests.engines.test_transducers import METHODS, MODELS, items

STREAMING = ["k2", "k4", "k5", "t1", "t2"]
BOTH = pytest.mark.parametrize("keep_io", [False, True], ids=["half", "float32 in and out"])

TOLERANCE = 0.05
"""One rounding to half costs 5e-4 of a value; the random models' sharpened outputs enlarge what layers add up."""


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """Return the folder of a tiny model in float16, made when it is first asked for."""
    root = tmp_path_factory.mktemp("half")

    @cache
    def folder(name: str, keep_io: bool) -> Path:
        halve_folder(MODELS / name, root / f"{name}-{keep_io}", keep_io=keep_io)
        return root / f"{name}-{keep_io}"

    return folder


def error(got, wanted):
    """Return the distance from `wanted` as a share of its length; 0 would mean that nothing was converted."""
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


def encoded(folder, seconds=2.0):
    """Stream one recording through the encoder alone; (frames, size)."""
    engine, spec = open_model(folder).streaming, inspect(folder).streaming
    fbank, encoder = Fbank(engine.framing.fbank), IcefallStreamingEncoder(spec, 2, 2, OrtOptions())
    cut = windows(engine, noise(seconds, 3))
    full = [window for window in cut if window.num_frames == spec.window_frames]
    rows = [encoder.step([1], fbank(w.samples[np.newaxis]), [n == 0]).copy()[0] for n, w in enumerate(full)]
    return np.concatenate(rows)


@BOTH
@pytest.mark.parametrize("name", [*STREAMING, "k3-streaming"])
def test_states_have_the_graph_s_own_type_and_frames_are_those_of_float32(name, keep_io, halved):
    spec = inspect(halved(name, keep_io)).streaming
    expected = "float32" if keep_io else "float16"
    assert {state.dtype for state in spec.states} - {"int64", "int32"} == {expected}
    assert spec.float_type == expected
    wanted, got = encoded(MODELS / name), encoded(halved(name, keep_io))
    assert got.dtype == np.float32
    assert 0 < error(got, wanted) < TOLERANCE


@BOTH
@pytest.mark.parametrize("name", STREAMING)
def test_stream_in_a_batch_equals_stream_alone(name, keep_io, halved):
    engine = open_model(halved(name, keep_io)).streaming
    options = [TransducerOptions(method=method) for method in METHODS]
    audio = [noise(0.4 + 0.6 * index, index) for index in range(3)]
    alone = [stream(engine, samples, slot=5, options=wanted)[0] for samples, wanted in zip(audio, options, strict=True)]
    assert any(len(nbest.tokens[0]) > 3 for nbest in alone), "a model that says nothing proves nothing"
    plans = [items(slot, windows(engine, samples), options[slot]) for slot, samples in enumerate(audio)]
    for step in range(max(map(len, plans))):
        batch = [plan[step] for plan in plans if step < len(plan)]
        for item, output in zip(batch, engine.run(batch), strict=True):
            if step == len(plans[item.slot]) - 1:
                same_nbest(output.nbest, alone[item.slot], 1e-3)


@BOTH
@pytest.mark.parametrize("name", ["k1", "k6"])
def test_recordings_are_encoded_as_in_float32_and_in_a_batch_as_alone(name, keep_io, halved):
    folder = halved(name, keep_io)
    model, pad = open_model(folder), inspect(folder).fbank.pad_value
    features = [Fbank(inspect(folder).fbank).whole(noise(0.5 + 0.7 * n, n)) for n in range(3)]
    specs = inspect(MODELS / name).offline, inspect(folder).offline
    wanted, got = (IcefallOfflineEncoder(spec, 4, pad, OrtOptions()).frames(features) for spec in specs)
    for one, other in zip(wanted, got, strict=True):
        assert 0 < error(other, one) < TOLERANCE
    batch = [OfflineItem(noise(0.5 + 0.7 * n, n), TransducerOptions()) for n in range(3)]
    outputs = model.offline.run(batch)
    assert any(len(output.nbest.tokens[0]) > 3 for output in outputs)
    for item, output in zip(batch, outputs, strict=True):
        same_nbest(output.nbest, model.offline.run([item])[0].nbest, 1e-3)


def test_float16_encoder_works_with_float32_decoder_and_joiner(halved, tmp_path):
    """As where only the big graph was converted."""
    for path in (MODELS / "k2").iterdir():
        source = halved("k2", False) if path.name.startswith("encoder") else MODELS / "k2"
        (tmp_path / path.name).write_bytes((source / path.name).read_bytes())
    nbest = stream(open_model(tmp_path).streaming, noise(2.0, 3), options=TransducerOptions())[0]
    wanted = stream(open_model(halved("k2", False)).streaming, noise(2.0, 3), options=TransducerOptions())[0]
    assert len(nbest.tokens[0]) > 3
    assert nbest.tokens[0].tolist() == wanted.tokens[0].tolist()


def test_folders_within_a_model_are_converted_where_they_lie(tmp_path):
    """As recipes/export_english.sh leaves a model: a manifest above, graphs in folders below."""
    manifest = '[streaming]\nencoder = "streaming/encoder.onnx"\n[transducer]\ndecoder = "streaming/decoder.onnx"\n'
    shutil.copytree(MODELS / "k5", tmp_path / "float" / "streaming")
    tokens = 'tokens = "streaming/tokens.txt"\n'
    (tmp_path / "float" / "model.toml").write_text(f'{tokens}{manifest}joiner = "streaming/joiner.onnx"\n')
    halve_folder(tmp_path / "float", tmp_path / "half")
    description = inspect(tmp_path / "half")
    assert description.problems == ()
    assert description.streaming.float_type == "float16"
    assert 0 < error(encoded(tmp_path / "half"), encoded(tmp_path / "float")) < TOLERANCE
