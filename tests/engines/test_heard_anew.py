"""A second pass with full context: a stream's features encoded anew are those of the recording, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.describe import inspect
from engines.encoder import FloatArray
from engines.errors import EngineFailed
from engines.load import EngineOptions, LoadedModel, load
from engines.offline import Encoded, OfflineEncoder, open_offline
from engines.ort import OrtOptions
from engines.recordings import OfflineItem
from engines.report import describe_text
from engines.rescoring import RescoreItem
from engines.segment_encoder import LONGEST, SegmentEncoder
from engines.streaming import StreamingCtc
from speech.features import Fbank
from speech.search import Nbest, SearchOptions
from speech.search.alignment import best_path
from tests.engines import graphs
from tests.engines.graphs import Mini
from tests.engines.helpers import BEAM, OPTIONS, items, noise, same_nbest, windows

MINI = Mini()
FULL = "full_context = true\n"


def with_second_pass(folder: Path, more: str = FULL) -> Path:
    graphs.add_offline(graphs.add_trees(graphs.gpu_model(folder)))
    return graphs.add_second_pass(folder, more=more)


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> LoadedModel:
    return load(inspect(with_second_pass(tmp_path, FULL + "max_seconds = 1.0\nbeam_size = 16\n")), OPTIONS)


def streaming(model: LoadedModel) -> StreamingCtc:
    assert isinstance(model.streaming, StreamingCtc)
    return model.streaming


def features(model: LoadedModel, samples: FloatArray) -> FloatArray:
    return Fbank(model.description.fbank).whole(samples)


def offline_encoder(model: LoadedModel) -> OfflineEncoder:
    spec = model.description.offline
    assert spec is not None
    return open_offline(spec, 1, model.description.fbank.row_pad_value, OrtOptions(intra_threads=1))


def encoded(model: LoadedModel, rows: FloatArray) -> FloatArray:
    out = offline_encoder(model).run([rows])[0].encoder_out
    assert out is not None
    return out


def segment(model: LoadedModel, samples: FloatArray, slot: int = 0, *, is_features: bool = True) -> RescoreItem:
    """Stream a recording, and return what the second pass is given."""
    engine = streaming(model)
    cut = items(slot, windows(engine, samples), keep="features" if is_features else "encoder_out")
    outputs = [engine.run([item])[0] for item in cut]
    heard = np.concatenate([output.kept for output in outputs if output.kept is not None])
    return RescoreItem(heard, outputs[-1].nbest.closed(), second_pass=True, is_features=is_features)


def second_pass(model: LoadedModel, *work: RescoreItem) -> list[Nbest]:
    assert model.rescorer is not None
    return model.rescorer.run(list(work))


@pytest.mark.parametrize("seconds", [0.11, 0.5, 0.64, 0.7, 1.3, 2.9])
def test_a_stream_keeps_the_features_of_the_recording(model: LoadedModel, seconds: float) -> None:
    samples = noise(seconds, 3)
    whole = features(model, samples)
    spec = model.description.offline
    assert spec is not None
    used = SegmentEncoder(offline_encoder(model), spec, 25).num_frames(len(whole))
    needed = (used - 1) * spec.subsampling + spec.context
    kept = segment(model, samples).heard
    assert len(kept) >= needed
    np.testing.assert_allclose(kept[:needed], whole[:needed], atol=1e-4)


def test_a_segment_after_an_endpoint_begins_with_features_of_its_own(model: LoadedModel) -> None:
    engine, samples = streaming(model), noise(3.0, 4)
    cut = items(0, windows(engine, samples), keep="features")
    again = 2
    cut[again] = replace(cut[again], restart_encoder=True, restart_search=True)
    outputs = [engine.run([item])[0] for item in cut]
    kept = [output.kept for output in outputs[again:] if output.kept is not None]
    start = cut[again].window.start_frame
    whole = features(model, samples)[start:]
    heard = np.concatenate(kept)
    np.testing.assert_allclose(heard[: len(whole)], whole[: len(heard)], atol=1e-4)
    assert sum(output.num_frames for output in outputs[again:]) == (len(heard) - MINI.context) // MINI.subsampling + 1


def test_what_a_stream_hears_anew_is_what_the_recording_gives(model: LoadedModel) -> None:
    """The same n-best list over the offline encoder's output of the same audio: equal texts, times and scores."""
    for seed in range(6):
        samples = noise(0.9, seed)
        item = segment(model, samples)
        whole = replace(item, heard=encoded(model, features(model, samples)), is_features=False)
        one, other = second_pass(model, item, whole)
        same_nbest(one, other)
    streamed = second_pass(model, segment(model, samples, is_features=False))[0]
    assert not np.allclose(streamed.scores[:1], one.scores[:1], atol=1e-3)


def test_neighbours_do_not_matter(model: LoadedModel) -> None:
    audio = [noise(0.4 + 0.3 * index, index) for index in range(5)]
    alone = [second_pass(model, segment(model, samples))[0] for samples in audio]
    together = second_pass(model, *(segment(model, samples) for samples in audio))
    for one, other in zip(alone, together, strict=True):
        same_nbest(one, other)


def test_pieces_are_heard_alone_and_bounded(model: LoadedModel) -> None:
    spec, rows = model.description.offline, features(model, noise(4.0, 6))
    assert spec is not None
    most = 10
    encoder = SegmentEncoder(offline_encoder(model), spec, most)
    frames = encoder.num_frames(len(rows))
    pieces = [(0, 7), (7, 7 + LONGEST * most + 5), (7 + LONGEST * most + 5, frames)]
    heard = encoder.run(rows, pieces)
    assert len(heard) == frames
    ends = [(0, 7), (7, 7 + LONGEST * most), (7 + LONGEST * most, 7 + LONGEST * most + 5)]
    for begin, end in ends:
        part = rows[begin * spec.subsampling : (end - 1) * spec.subsampling + spec.context]
        np.testing.assert_allclose(heard[begin:end], encoded(model, part), atol=1e-5)


def test_what_is_heard_now_is_read_too(model: LoadedModel) -> None:
    """The first pass may have left out a clause, and what it said bounds how long a text may be."""
    item = segment(model, noise(0.9, 3))
    logits = encoded(model, item.heard) @ MINI.weights()["head"]
    said = best_path(logits, 0)
    assert len(said) > 2
    one = np.array([2], np.int32)
    poor = replace(item.nbest, tokens=(one,), scores=np.zeros(1), times=(one,), confidences=(np.ones(1, np.float32),))
    texts = [tokens.tolist() for tokens in second_pass(model, replace(item, nbest=poor))[0].tokens]
    assert said.tolist() in texts


@pytest.mark.parametrize("num_features", range(12))
def test_frames_are_counted_as_the_encoder_makes_them(model: LoadedModel, num_features: int) -> None:
    spec = model.description.offline
    assert spec is not None
    counted = SegmentEncoder(offline_encoder(model), spec, 25).num_frames(num_features)
    if counted:
        rows = features(model, noise(1.0, 1))[:num_features]
        assert counted == len(encoded(model, rows))
    else:
        assert num_features < spec.context


def test_an_encoder_that_makes_other_frames_is_refused(model: LoadedModel) -> None:
    class Short:
        batch_limit = 1

        def run(self, features: list[FloatArray]) -> list[Encoded]:
            nothing = np.zeros((1, MINI.dim), np.float32)
            return [Encoded(nothing, nothing.astype(np.int32), nothing) for _ in features]

    spec = model.description.offline
    assert spec is not None
    with pytest.raises(EngineFailed, match="23 feature frames not the 5 expected"):
        SegmentEncoder(Short(), spec, 25).run(np.zeros((40, MINI.bins), np.float32), [(0, 5)])


def test_a_long_recording_is_heard_in_pieces_too(model: LoadedModel) -> None:
    assert model.offline is not None
    assert model.rescorer is not None
    samples, options = noise(2.3, 8), SearchOptions(beam_size=4, top_k=5)
    plain = model.offline.run([OfflineItem(samples, options)])[0]
    assert model.rescorer.is_cut(plain.num_frames)
    again = model.offline.run([OfflineItem(samples, options, rescoring=True, second_pass=True)])[0]
    by_hand = RescoreItem(features(model, samples), plain.nbest, second_pass=True, is_features=True)
    same_nbest(again.nbest, second_pass(model, by_hand)[0])
    whole = replace(by_hand, heard=encoded(model, by_hand.heard), is_features=False)
    assert not np.allclose(second_pass(model, whole)[0].scores[:1], again.nbest.scores[:1], atol=1e-3)


def test_a_short_recording_is_not_encoded_twice(model: LoadedModel) -> None:
    assert model.rescorer is not None
    assert model.description.second_pass is not None
    most = model.description.second_pass.max_frames
    assert [model.rescorer.is_cut(frames) for frames in (1, most, most + 1)] == [False, False, True]


def test_silence_and_too_little_stay_as_they_are(model: LoadedModel) -> None:
    item = segment(model, noise(0.5, 1))
    short = replace(item, heard=item.heard[: MINI.context - 1])
    nothing = replace(item, heard=item.heard[:0])
    assert [one is item.nbest for one in second_pass(model, short, nothing)] == [True, True]


def test_without_full_context_nothing_is_heard_anew(tmp_path: Path) -> None:
    model = load(inspect(with_second_pass(tmp_path, more="")), EngineOptions(threads=1))
    assert model.rescorer is not None
    assert not model.rescorer.hears_anew
    assert not model.rescorer.is_cut(10**6)


def test_the_report_tells_of_it(tmp_path: Path) -> None:
    assert "hears streams' segments anew by whole.onnx" in describe_text(inspect(with_second_pass(tmp_path)))


def _without_offline(folder: Path) -> None:
    text = (folder / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(text.replace('[offline]\nencoder = "whole.onnx"\n', ""), encoding="utf-8")


def _other_frames(folder: Path) -> None:
    (folder / "train.yaml").unlink()
    graphs.w1(folder / "whole.onnx", replace(MINI, subsampling=8, context=15))
    path = folder / "model.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[offline]\n", "[offline]\nsubsampling = 8\nright_context = 14\n"), encoding="utf-8")


def _whisper(folder: Path) -> None:
    path = folder / "model.toml"
    path.write_text(path.read_text(encoding="utf-8") + '[features]\nprofile = "whisper"\n', encoding="utf-8")


def _other_tail(folder: Path) -> None:
    path = folder / "model.toml"
    path.write_text('partial_frames = "wenet"\n' + path.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without_offline, "there is none"),
        (_other_frames, "its subsampling and context are 8 and 15, those of the streaming one 4 and 7"),
        (_whisper, "normalised over whole recordings"),
        (_other_tail, "counts frames of its last window"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, change: Callable[[Path], None], told: str) -> None:
    folder = with_second_pass(tmp_path)
    change(folder)
    problems = inspect(folder).problems
    assert any("full_context wants an [offline] encoder" in problem and told in problem for problem in problems), (
        problems
    )


def test_search_options_are_those_of_the_stream(model: LoadedModel) -> None:
    """What is kept does not change what the first pass says."""
    engine, samples = streaming(model), noise(1.5, 2)
    lists = []
    for keep in ("features", "encoder_out", None):
        outputs = [engine.run([item])[0] for item in items(0, windows(engine, samples), BEAM, keep=keep)]
        lists.append(outputs[-1].nbest)
    same_nbest(lists[0], lists[1])
    same_nbest(lists[0], lists[2])
