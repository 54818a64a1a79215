"""From folder to running model: what is refused, what the runtime says, what a failing graph does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.describe import inspect
from engines.errors import BadModel, EngineFailed
from engines.load import EngineOptions, load
from engines.ort import OrtModel, OrtOptions
from tests.engines import graphs
from tests.engines.graphs import Mini
from tests.engines.helpers import OPTIONS, items, noise, open_model, same_nbest, stream, windows


def test_folder_with_problems_is_not_loaded(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    graphs.units(tmp_path, Mini(vocab=13))
    with pytest.raises(BadModel, match="scores 12 tokens"):
        load(inspect(tmp_path), OPTIONS)


def test_both_halves_share_one_decoder(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path / "online")
    graphs.gpu_model(tmp_path / "whole", streaming=False)
    (tmp_path / "model.toml").write_text(
        '[streaming]\nencoder = "online/encoder.onnx"\n[offline]\nencoder = "whole/encoder.onnx"\n'
        '[decoder]\npath = "online/decoder.onnx"\n'
    )
    model = open_model(tmp_path)
    assert model.streaming is not None
    assert model.offline is not None
    assert model.rescorer is not None
    assert len(model.tokens) == 12
    assert model.streaming.frame_ms == model.offline.frame_ms == 40.0


def test_slots_and_batch_are_those_asked_for(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    engine = open_model(tmp_path, EngineOptions(num_slots=3, max_batch=2, threads=1)).streaming
    assert engine is not None
    assert (engine.num_slots, engine.batch_limit) == (3, 2)
    cut = windows(engine, noise(0.4))
    outputs = engine.run([items(slot, cut)[0] for slot in range(3)])
    same_nbest(outputs[0].nbest, outputs[2].nbest, 1e-6)
    with pytest.raises(IndexError, match="slot 3 given"):
        engine.run([items(3, cut)[0]])
    with pytest.raises(IndexError, match="each may have one window"):
        engine.run([items(1, cut)[0]] * 2)
    with pytest.raises(IndexError, match="slot -1 given"):
        engine.close_slot(-1)


def test_failing_graph_is_an_engine_failure_that_names_it(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, Mini(positions=20))
    # A table that is said to be endless is found out by the runtime.
    (tmp_path / "model.toml").write_text("[positions]\nlimit = 0\n")
    engine = open_model(tmp_path).streaming
    assert engine is not None
    with pytest.raises(EngineFailed, match=r"encoder.onnx failed on a batch of 1: .*Gather"):
        stream(engine, noise(2.0))
    assert stream(engine, noise(0.5))[0].frames > 0


def test_missing_input_is_an_engine_failure(tmp_path: Path) -> None:
    model = OrtModel(graphs.w1(tmp_path / "encoder.onnx"), OrtOptions())
    with pytest.raises(EngineFailed, match=r"encoder.onnx failed"):
        model.run({"speech": np.zeros((1, 20, 80), np.float32)})


def test_unknown_provider_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = graphs.w1(tmp_path / "encoder.onnx")
    with pytest.raises(BadModel, match=r"no provider NoSuch.*CPUExecutionProvider"):
        OrtModel(path, OrtOptions(provider="NoSuch"))


def test_memory_does_not_grow_with_changing_batches(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    graphs.gpu_model(tmp_path, Mini(dim=64, left=8))
    engine = open_model(tmp_path, EngineOptions(num_slots=8, max_batch=8, threads=1)).streaming
    assert engine is not None
    cut = windows(engine, noise(0.4))[0]
    plans = [items(slot, [cut])[0] for slot in range(8)]
    rng = np.random.default_rng(0)

    def steps(count: int) -> int:
        for _ in range(count):
            engine.run(plans[: rng.integers(1, 9)])
        return int(psutil.Process().memory_info().rss)

    before = steps(100)
    assert steps(400) - before < 8 * 2**20
