"""What the tests of running engines share: loading a folder, random speech-like audio, streaming it through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.describe import inspect
from engines.encoder import FloatArray
from engines.load import EngineOptions, LoadedModel, load
from engines.streaming import Kept, StepItem, StepOutput, StreamingCtc
from speech.framing import Framer, Window
from speech.search import Nbest, SearchOptions

OPTIONS = EngineOptions(num_slots=8, max_batch=6, threads=1)
GREEDY = SearchOptions(method="ctc_greedy")
BEAM = SearchOptions()


def open_model(folder: Path, options: EngineOptions = OPTIONS) -> LoadedModel:
    return load(inspect(folder), options)


def noise(seconds: float, seed: int = 0) -> FloatArray:
    """Noise whose loudness wanders, so that features and hypotheses vary."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 16000)
    points = np.arange(0, count + 1600, 800)
    loudness = np.interp(np.arange(count), points, rng.random(len(points)))
    return (rng.standard_normal(count) * 0.3 * loudness**2).astype(np.float32)


def windows(engine: StreamingCtc, samples: FloatArray) -> list[Window]:
    framer = Framer(engine.framing)
    return [*framer.push(samples), *framer.flush()]


def items(
    slot: int, cut: Sequence[Window], options: SearchOptions = BEAM, *, keep: Kept | None = "encoder_out"
) -> list[StepItem]:
    return [StepItem(slot, window, index == 0, index == 0, options, keep) for index, window in enumerate(cut)]


def stream(
    engine: StreamingCtc, samples: FloatArray, slot: int = 0, options: SearchOptions = BEAM
) -> tuple[Nbest, FloatArray, list[StepOutput]]:
    """Stream one recording alone; return its last n-best list, its whole encoder output and every step's output."""
    outputs = [engine.run([item])[0] for item in items(slot, windows(engine, samples), options)]
    rows = [output.kept for output in outputs if output.kept is not None]
    return outputs[-1].nbest, np.concatenate(rows) if rows else np.zeros((0, 0), np.float32), outputs


def same_nbest(one: Nbest, other: Nbest, tolerance: float = 1e-4) -> None:
    assert [tokens.tolist() for tokens in one.tokens] == [tokens.tolist() for tokens in other.tokens]
    np.testing.assert_allclose(one.scores, other.scores, atol=tolerance, rtol=tolerance)
    assert [times.tolist() for times in one.times] == [times.tolist() for times in other.times]
