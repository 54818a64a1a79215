"""The graphs that our own exporters make (tests/data/models): real layers, random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from engines.describe import inspect
from engines.load import EngineOptions, LoadedModel, load
from engines.recordings import OfflineItem
from engines.rescoring import RescoreItem
from tests.engines.helpers import BEAM, GREEDY, items, noise, same_nbest, stream, windows

MODELS = Path(__file__).parents[1] / "data" / "models"
ALL = ["w1", "w1-fp16", "w1-sub8", "w2", "w2-fp16", "w2-sub8", "w3", "w4-offline", "w4-streaming"]
OPTIONS = EngineOptions(num_slots=6, max_batch=6, threads=1)


def open_exported(name: str) -> LoadedModel:
    return load(inspect(MODELS / name), OPTIONS)


@pytest.mark.parametrize("name", ALL)
def test_exporter_s_folder_is_ready_to_serve(name: str) -> None:
    description = inspect(MODELS / name)
    assert description.problems == ()
    half = description.streaming or description.offline
    assert half is not None
    assert half.subsampling == (8 if "sub8" in name else 4)
    assert half.float_type == ("float16" if "fp16" in name else "float32")
    assert (description.rescoring is not None) == (not name.startswith("w4"))


@pytest.mark.parametrize("name", ["w2", "w2-fp16", "w2-sub8", "w3", "w4-streaming"])
def test_exported_stream_in_a_batch_equals_stream_alone(name: str) -> None:
    engine = open_exported(name).streaming
    assert engine is not None
    audio = [noise(0.25 + 0.31 * index, index) for index in range(4)]
    options = GREEDY if name == "w2-fp16" else BEAM
    tolerance = 0.05 if name == "w2-fp16" else 1e-4
    alone = [stream(engine, samples, slot=5, options=options)[0] for samples in audio]
    plans = [items(slot, windows(engine, samples), options) for slot, samples in enumerate(audio)]
    for step in range(max(map(len, plans))):
        batch = [plan[step] for plan in plans if step < len(plan)]
        for item, output in zip(batch, engine.run(batch), strict=True):
            if step == len(plans[item.slot]) - 1:
                same_nbest(output.nbest, alone[item.slot], tolerance)


@pytest.mark.parametrize("name", ["w1", "w1-sub8", "w4-offline"])
def test_exported_recording_in_a_batch_equals_recording_alone(name: str) -> None:
    engine = open_exported(name).offline
    assert engine is not None
    batch = [OfflineItem(noise(0.2 + 0.4 * index, index), BEAM, rescoring=True) for index in range(5)]
    for item, output in zip(batch, engine.run(batch), strict=True):
        same_nbest(output.nbest, engine.run([item])[0].nbest)


def test_exported_families_stream_alike() -> None:
    samples = noise(2.3, 5)
    outputs = []
    for name in ("w2", "w3"):
        engine = open_exported(name).streaming
        assert engine is not None
        outputs.append(stream(engine, samples))
    np.testing.assert_allclose(outputs[0][1], outputs[1][1], atol=1e-4)
    same_nbest(outputs[0][0], outputs[1][0], 1e-3)


@pytest.mark.parametrize(("offline", "streaming"), [("w1", "w2"), ("w1-sub8", "w2-sub8")])
def test_one_chunk_streams_as_it_is_recognised_whole(offline: str, streaming: str) -> None:
    whole, online = open_exported(offline).offline, open_exported(streaming).streaming
    assert whole is not None
    assert online is not None
    samples = noise(1.0, 6)[: online.framing.window_samples - 300]
    same_nbest(stream(online, samples)[0], whole.run([OfflineItem(samples, BEAM)])[0].nbest, 1e-3)


@pytest.mark.parametrize("name", ["w2", "w3"])
def test_exported_decoder_rescores_a_stream_s_segment(name: str) -> None:
    model = open_exported(name)
    assert model.streaming is not None
    assert model.rescorer is not None
    segments = []
    for seed in range(3):
        nbest, encoder_out, _ = stream(model.streaming, noise(0.5 + seed, seed))
        segments.append(RescoreItem(encoder_out, nbest))
    for item, together in zip(segments, model.rescorer.run(segments), strict=True):
        alone = model.rescorer.run([item])[0]
        same_nbest(together, alone)
        assert sorted(map(tuple, alone.tokens)) == sorted(map(tuple, item.nbest.tokens))


def test_both_exported_decoders_choose_the_same_hypothesis() -> None:
    named, scored = open_exported("w2"), open_exported("w3")
    assert named.streaming is not None
    assert named.rescorer is not None
    assert scored.rescorer is not None
    for seed in range(4):
        nbest, encoder_out, _ = stream(named.streaming, noise(1.5, seed))
        item = RescoreItem(encoder_out, nbest)
        scores = scored.rescorer.run([item])[0]
        np.testing.assert_array_equal(named.rescorer.run([item])[0].tokens[0], scores.tokens[0])


def quantised(name: str, folder: Path) -> Path:
    """The folder with int8 graphs alone: WeNet's own for W3, for the others what ONNX Runtime's quantiser makes."""
    for path in (MODELS / name).iterdir():
        if path.suffix != ".onnx" or ".quant" in path.name:
            shutil.copy(path, folder)
        elif name != "w3":
            small = folder / f"{path.stem}.int8.onnx"
            quantize_dynamic(path, small, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    return folder


@pytest.mark.parametrize("name", ["w1", "w2", "w3", "w4-offline", "w4-streaming"])
def test_int8_graphs_recognise_like_full_precision(name: str, tmp_path: Path) -> None:
    description = inspect(quantised(name, tmp_path))
    assert description.problems == ()
    assert any("int8 by ONNX Runtime's quantiser: " in note for note in description.notes)
    small, full = load(description, OPTIONS), open_exported(name)
    samples = noise(1.4, 10)
    if small.streaming is not None and full.streaming is not None:
        (nbest, rows, _), (expected, full_rows, _) = (
            stream(model.streaming, samples, options=GREEDY) for model in (small, full)
        )
        if rows.size:
            assert np.corrcoef(rows.ravel(), full_rows.ravel())[0, 1] > 0.97
    else:
        assert small.offline is not None
        assert full.offline is not None
        nbest, expected = (model.offline.run([OfflineItem(samples, GREEDY)])[0].nbest for model in (small, full))
    assert nbest.frames == expected.frames
    assert [tokens.tolist() for tokens in nbest.tokens] == [tokens.tolist() for tokens in expected.tokens]
    if small.rescorer is not None and small.streaming is not None:
        nbest, rows, _ = stream(small.streaming, samples)
        assert len(small.rescorer.run([RescoreItem(rows, nbest)])[0].tokens) == len(nbest.tokens)
