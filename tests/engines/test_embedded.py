"""The model that comes with Chorus: its size, what its 8-bit weights promise, and that it understands the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.describe import inspect
from engines.load import EngineOptions, LoadedModel, load
from engines.recordings import OfflineItem
from engines.rescoring import RescoreItem
from speech.audio import Encoding
from speech.containers import decode
from speech.scoring import score_pairs
from tests.engines.helpers import BEAM, items, same_nbest, stream, windows

MODELS = Path(__file__).parents[2] / "models"
FOLDER = MODELS / "english-u2pp"
MOST_BYTES = 15_000_000


@pytest.fixture(name="model", scope="module")
def _model() -> LoadedModel:
    return load(inspect(FOLDER), EngineOptions(num_slots=4, max_batch=4, threads=1))


@pytest.fixture(name="recordings", scope="module")
def _recordings() -> dict[str, np.ndarray]:
    """What is said in the demo's recordings, and their samples."""
    rows = (MODELS / "demo" / "demo.tsv").read_text(encoding="utf-8").splitlines()
    said = {}
    for name, text in (row.split("\t") for row in rows):
        with (MODELS / "demo" / name).open("rb") as file:
            said[text] = np.concatenate([block.samples[0] for block in decode(file, Encoding.FLAC)])
    return said


def test_the_model_is_at_most_15_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.suffix in (".onnx", ".bin")) <= MOST_BYTES


def test_streams_in_a_batch_equal_streams_alone_and_say_what_was_said(
    model: LoadedModel, recordings: dict[str, np.ndarray]
) -> None:
    engine, rescorer = model.streaming, model.rescorer
    assert engine is not None
    assert rescorer is not None
    plans = [items(slot, windows(engine, samples)) for slot, samples in enumerate(recordings.values())]
    rows: list[list[np.ndarray]] = [[] for _ in plans]
    together = {}
    for step in range(max(map(len, plans))):
        batch = [plan[step] for plan in plans if step < len(plan)]
        for item, output in zip(batch, engine.run(batch), strict=True):
            assert output.kept is not None
            rows[item.slot].append(output.kept)
            together[item.slot] = output.nbest
    segments = [RescoreItem(np.concatenate(rows[slot]), together[slot].closed()) for slot in sorted(together)]
    texts = []
    for samples, segment, rescored in zip(recordings.values(), segments, rescorer.run(segments), strict=True):
        nbest, encoder_out, _ = stream(engine, samples, slot=3)
        same_nbest(segment.nbest, nbest)
        np.testing.assert_allclose(segment.heard, encoder_out, atol=1e-4)
        same_nbest(rescored, rescorer.run([RescoreItem(encoder_out, nbest.closed())])[0])
        texts.append(model.tokens.text(rescored.tokens[0].tolist()))
    assert score_pairs(zip(recordings, texts, strict=True)).total.rate <= 0.25


def test_recordings_in_a_batch_equal_recordings_alone_and_say_what_was_said(
    model: LoadedModel, recordings: dict[str, np.ndarray]
) -> None:
    engine = model.offline
    assert engine is not None
    batch = [OfflineItem(samples, BEAM, rescoring=True) for samples in recordings.values()]
    found = [output.nbest for output in engine.run(batch)]
    for item, nbest in zip(batch, found, strict=True):
        same_nbest(nbest, engine.run([item])[0].nbest)
    texts = [model.tokens.text(nbest.tokens[0].tolist()) for nbest in found]
    assert score_pairs(zip(recordings, texts, strict=True)).total.rate <= 0.25
