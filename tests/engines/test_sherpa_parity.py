"""The same files through sherpa-onnx: equal tokens, times equal to a frame. All recordings: `benchmarks.parity`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks.parity import METHODS, RATE, SHERPAS_WAYS, TAIL, Chorus, Peer, compare
from engines.streaming import StepItem
from speech.biasing import Bias, build_graph
from speech.endpoint import K2_RULES
from speech.recognition import Recognition, ResultOptions, SegmentEnd
from speech.search.transducer import TransducerOptions
from tests.engines.helpers import noise, open_model, windows

pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed (dev extra)")

MODELS = Path(__file__).parents[1] / "data" / "models"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["k2", "k4", "k5", "k1", "k6"])
def test_sherpa_onnx_says_the_same(name, method):
    audio = [(f"noise {seed}", noise(1.0 + 0.37 * seed, seed)) for seed in range(5)]
    compared = list(compare(MODELS / name, method, iter(audio)))
    assert sum(len(other.pieces) for _, _, other, _ in compared) > 20, "a model that says nothing proves nothing"
    assert [(title, one, other) for title, one, other, agrees in compared if not agrees] == []
    assert all(np.diff(one.times).min(initial=0) >= 0 for _, one, _, _ in compared)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_sherpa_onnx_hears_whisper_s_features_the_same(method, tmp_path):
    """The tiny model with the metadata and its input scaled for such features."""
    for path in (MODELS / "k2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = next(tmp_path.glob("encoder*.onnx"))
    model = onnx.load(path)
    helper.set_model_props(model, {e.key: e.value for e in model.metadata_props} | {"feature": "whisper"})
    scaled = helper.make_node("Mul", ["x", "eight"], ["louder"])
    shifted = helper.make_node("Sub", ["louder", "eight"], ["as_logs"])
    for node in model.graph.node:
        node.input[:] = ["as_logs" if name == "x" else name for name in node.input]
    model.graph.initializer.append(helper.make_tensor("eight", onnx.TensorProto.FLOAT, [], [8.0]))
    for node in (shifted, scaled):
        model.graph.node.insert(0, node)
    onnx.save(model, path)
    audio = [(f"noise {seed}", noise(1.0 + 0.37 * seed, seed)) for seed in range(5)]
    compared = list(compare(tmp_path, method, iter(audio)))
    assert sum(len(other.pieces) for _, _, other, _ in compared) > 20, "a model that says nothing proves nothing"
    assert [(title, one, other) for title, one, other, agrees in compared if not agrees] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["k1", "k2"])
def test_hotwords_make_sherpa_onnx_say_the_same(name, tmp_path):
    """Phrases of whole tokens, which sherpa-onnx splits at spaces; they overlap, and most are begun in vain."""
    phrases = ["ING ER", "T A", "I W H", "W H I I", "H H", "A ING A", "W I"]
    (tmp_path / "phrases.txt").write_text("\n".join(phrases))
    ours = Path(shutil.copytree(MODELS / name, tmp_path / name))
    (ours / "model.toml").write_text(SHERPAS_WAYS)
    pieces = [line.split()[0] for line in (ours / "tokens.txt").read_text(encoding="utf-8").splitlines()]
    graph = build_graph([[pieces.index(piece) for piece in phrase.split()] for phrase in phrases], [3.0] * len(phrases))
    chorus, plain = Chorus(ours, METHODS[1], Bias(graph)), Peer(MODELS / name, METHODS[1])
    peer = Peer(
        MODELS / name, METHODS[1],
        hotwords_file=str(tmp_path / "phrases.txt"), hotwords_score=3.0, modeling_unit="cjkchar",
    )  # fmt: skip
    for seed in range(4):
        heard = np.concatenate([noise(1.0 + 0.5 * seed, seed), TAIL])
        said = peer(heard)
        assert said.pieces != plain(heard).pieces, "hotwords that change nothing prove nothing"
        assert chorus(heard).equals(said, chorus.frame_s)


def our_segments(folder, samples):
    """Pieces of each segment with text, by greedy search and k2's endpoint rules."""
    model, said = open_model(folder), []
    rules = Recognition(model.tokens, 40.0, K2_RULES, ResultOptions(), keeps_encoder=True)
    options = TransducerOptions(method="greedy_search")
    for window in windows(model.streaming, samples):
        item = StepItem(0, window, rules.restart_encoder, rules.restart_search, options)
        ends = [out for out in rules.push(model.streaming.run([item])[0], 0) if isinstance(out, SegmentEnd)]
        for end in ends:
            said.append(end.nbest)
            rules.finish_segment(end.nbest)
    said += [end.nbest for end in rules.flush(0) if isinstance(end, SegmentEnd)]
    return [[model.tokens.pieces[token].replace("\u2581", " ") for token in nbest.tokens[0]] for nbest in said]


def their_segments(folder, samples):
    peer = Peer(
        folder, "greedy_search", enable_endpoint_detection=True, rule1_min_trailing_silence=2.4,
        rule2_min_trailing_silence=1.2, rule3_min_utterance_length=20.0,
    )._recognizer  # fmt: skip
    said, stream = [], peer.create_stream()
    stream.accept_waveform(RATE, samples)
    stream.input_finished()
    while peer.is_ready(stream):
        peer.decode_stream(stream)
        if peer.is_endpoint(stream):
            said.append(list(peer.tokens(stream)))
            peer.reset(stream)
    return [pieces for pieces in [*said, list(peer.tokens(stream))] if pieces]


@pytest.mark.filterwarnings("ignore")
def test_segments_end_where_sherpa_onnx_ends_them_and_go_on_from_the_same_tokens(tmp_path):
    for path in (MODELS / "k2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.toml").write_text(SHERPAS_WAYS)
    for seed in range(2):
        pauses = [np.zeros(int(seconds * RATE), np.float32) for seconds in (3.1, 1.6)]
        heard = [noise(3, seed), pauses[0], noise(2, seed + 10), pauses[1], noise(12, seed + 20), TAIL]
        ours = our_segments(tmp_path, np.concatenate(heard))
        assert len(ours) > 2
        assert ours == their_segments(MODELS / "k2", np.concatenate(heard))
