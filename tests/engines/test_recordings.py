"""Whole recordings: batches of every length, short and long ones, rescoring, and agreement between families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.recordings import OfflineCtc, OfflineItem
from engines.topk import top_k
from speech.errors import BadAudio, BadOption
from speech.search import SearchOptions
from tests.engines import graphs
from tests.engines.graphs import Mini
from tests.engines.helpers import BEAM, GREEDY, noise, open_model, same_nbest

WHOLE = Mini(chunk=-1, left=-1, positions=400)
LONG = Mini(positions=400)
EIGHT = Mini(subsampling=8, context=15, chunk=8)

OFFLINE: dict[str, Callable[[Path], object]] = {
    "w1": lambda folder: graphs.gpu_model(folder, LONG, streaming=False),
    "w1 by eight": lambda folder: graphs.gpu_model(folder, EIGHT, streaming=False),
    "w3": lambda folder: graphs.cpu_model(folder, WHOLE),
    "w4": lambda folder: (graphs.units(folder), graphs.w4_offline(folder / "model.onnx", LONG)),
}


def open_offline(folder: Path) -> OfflineCtc:
    engine = open_model(folder).offline
    assert engine is not None
    return engine


@pytest.mark.parametrize("family", OFFLINE)
def test_recording_in_a_batch_equals_recording_alone(tmp_path: Path, family: str) -> None:
    OFFLINE[family](tmp_path)
    engine = open_offline(tmp_path)
    seconds = [0.5, 0.01, 1.9, 0.12, 0.0, 1.0, 0.7, 0.3, 1.1, 0.65]  # more than one batch, some too short
    items = [
        OfflineItem(noise(length, seed), GREEDY if seed % 3 == 0 else BEAM, rescoring=seed % 2 == 0)
        for seed, length in enumerate(seconds)
    ]
    together = engine.run(items)
    for item, output in zip(items, together, strict=True):
        alone = engine.run([item])[0]
        same_nbest(output.nbest, alone.nbest)
        assert output.num_frames == alone.num_frames == output.nbest.frames


@pytest.mark.parametrize("family", OFFLINE)
def test_audio_too_short_for_a_frame_gives_an_empty_text(tmp_path: Path, family: str) -> None:
    OFFLINE[family](tmp_path)
    engine = open_offline(tmp_path)
    for count in (0, 1, 399, 1000):
        output = engine.run([OfflineItem(noise(1)[:count], BEAM, rescoring=True)])[0]
        assert output.num_frames == 0
        assert [tokens.tolist() for tokens in output.nbest.tokens] == [[]]


def test_offline_families_agree_on_the_same_weights(tmp_path: Path) -> None:
    mini = Mini(chunk=100, left=1, positions=400)  # one chunk: the batched graphs then see it whole, as W3 does
    graphs.gpu_model(tmp_path / "w1", mini, streaming=False)
    graphs.cpu_model(tmp_path / "w3", Mini(chunk=-1, left=-1, positions=400))
    samples = noise(1.3, 3)
    outputs = [open_offline(tmp_path / name).run([OfflineItem(samples, GREEDY)])[0] for name in ("w1", "w3")]
    same_nbest(outputs[0].nbest, outputs[1].nbest, 1e-3)


def test_rescoring_puts_the_decoder_s_choice_first(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, Mini(positions=400, ctc_weight=0.01), streaming=False)
    model = open_model(tmp_path)
    assert model.offline is not None
    items = [OfflineItem(noise(1.0, seed), BEAM, rescoring=True) for seed in range(8)]
    plain = [OfflineItem(item.samples, BEAM) for item in items]
    changed = 0
    for with_it, without in zip(model.offline.run(items), model.offline.run(plain), strict=True):
        assert sorted(map(tuple, with_it.nbest.tokens)) == sorted(map(tuple, without.nbest.tokens))
        changed += tuple(with_it.nbest.tokens[0]) != tuple(without.nbest.tokens[0])
    assert changed


def test_recording_beyond_the_positions_is_refused_with_the_limit(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, streaming=False)
    (tmp_path / "model.toml").write_text("[positions]\nlimit = 40\n")
    engine = open_offline(tmp_path)
    assert engine.max_samples is not None
    assert engine.run([OfflineItem(noise(3)[: engine.max_samples], GREEDY)])[0].num_frames == 40
    with pytest.raises(BadAudio, match=r"this model allows 1.6 s \(40 encoder frames\)"):
        engine.run([OfflineItem(noise(3), GREEDY)])


def test_too_wide_a_beam_is_refused(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, streaming=False)
    with pytest.raises(BadOption, match="beam_size is 129"):
        open_offline(tmp_path).run([OfflineItem(noise(0.5), SearchOptions(beam_size=129))])


def test_warm_up_runs_every_size(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, streaming=False)
    open_offline(tmp_path).warm_up((1, 3, 100))


def test_best_tokens_are_sorted_and_complete() -> None:
    rng = np.random.default_rng(0)
    scores = rng.permutation(6000).reshape(2, 3, 1000).astype(np.float32)
    values, ids = top_k(scores, 10)
    expected = np.sort(scores, axis=-1)[..., ::-1][..., :10]
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.take_along_axis(scores, ids.astype(np.int64), axis=-1), expected)
    assert ids.dtype == np.int32
    assert top_k(scores[..., :4], 10)[0].shape == (2, 3, 4)
