"""Transducers of every family, exported by our recipes with random weights: streaming, batching, states, segments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.describe import inspect
from engines.ort import OrtModel, OrtOptions
from engines.recordings import OfflineItem
from engines.streaming import StepItem
from engines.transducer_networks import OrtNetworks
from speech.biasing import Bias, build_graph
from speech.errors import BadOption
from speech.features import Fbank
from speech.framing import Framer
from speech.search.transducer import TransducerOptions
from speech.search.transducer.reference import Reference
from tests.engines.helpers import GREEDY as CTC_GREEDY
from tests.engines.helpers import noise, open_model, same_nbest, stream, windows

MODELS = Path(__file__).parents[1] / "data" / "models"
STREAMING = ["k2", "k4", "k5", "t1", "t2"]
OFFLINE = ["k1", "k6"]
METHODS = ["greedy_search", "modified_beam_search", "fast_beam_search"]
BEAM = TransducerOptions()


def items(slot, cut, options=BEAM):
    return [StepItem(slot, window, index == 0, index == 0, options) for index, window in enumerate(cut)]


@pytest.mark.parametrize(
    ("name", "family", "chunk", "window"),
    [
        ("k2", "K2", 8, 45),
        ("k3-streaming", "K3", 8, 45),
        ("k4", "K4", 8, 39),
        ("k5", "K5", 16, 67),
        ("t1", "T1", 16, 75),
        ("t2", "T2", 16, 71),
    ],
)
def test_streaming_folder_is_told_by_its_graphs(name, family, chunk, window):
    description = inspect(MODELS / name)
    assert description.problems == ()
    spec = description.streaming
    assert spec is not None
    assert (spec.family, spec.chunk, spec.window_frames, spec.subsampling) == (family, chunk, window, 4)
    assert spec.is_batchable
    assert (description.transducer is None) == (family == "K3")


@pytest.mark.parametrize(("name", "family"), [("k1", "K1"), ("k3", "K3"), ("k6", "K6")])
def test_offline_folder_is_told_by_its_graphs(name, family):
    description = inspect(MODELS / name)
    assert description.problems == ()
    assert description.offline is not None
    assert (description.offline.family, description.offline.is_batchable) == (family, True)


@pytest.mark.parametrize("name", STREAMING)
def test_stream_in_a_batch_equals_stream_alone(name):
    engine = open_model(MODELS / name).streaming
    audio = [noise(0.15 + 0.7 * index, index) for index in range(4)]
    options = [TransducerOptions(method=METHODS[index % 3]) for index in range(4)]
    alone = [stream(engine, samples, slot=5, options=wanted)[0] for samples, wanted in zip(audio, options, strict=True)]
    assert any(len(nbest.tokens[0]) > 3 for nbest in alone), "a model that says nothing proves nothing"
    plans = [items(slot, windows(engine, samples), options[slot]) for slot, samples in enumerate(audio)]
    for step in range(max(map(len, plans))):
        batch = [plan[step] for plan in plans if step < len(plan)]
        for item, output in zip(batch, engine.run(batch), strict=True):
            if step == len(plans[item.slot]) - 1:
                same_nbest(output.nbest, alone[item.slot], 1e-3)


@pytest.mark.parametrize("name", ["k2", "k5"])
def test_any_cut_into_packets_gives_the_same_result(name):
    engine = open_model(MODELS / name).streaming
    samples = noise(2.3, 3)
    whole = last(engine, [samples])
    for seed in range(3):
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.integers(0, len(samples), size=40))
        same_nbest(last(engine, np.split(samples, cuts)), whole, 0.0)


def last(engine, packets):
    framer = Framer(engine.framing)
    cut = [window for packet in packets for window in framer.push(packet)] + framer.flush()
    return [engine.run([item])[0] for item in items(1, cut)][-1].nbest


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize("method", METHODS)
def test_engine_says_what_a_plain_loop_over_the_graphs_says(name, method):
    """The loop of icefall's scripts: whole features, one window after the other, one stream, no slots, no batches."""
    description = inspect(MODELS / name)
    spec, options = description.streaming, TransducerOptions(method=method)
    engine = open_model(MODELS / name).streaming
    samples = noise(2.0, 7)
    graph, names = OrtModel(spec.encoder, OrtOptions()), spec.names
    networks = OrtNetworks(description.transducer, OrtOptions())
    reference = Reference(networks, description.transducer.start_context, options, unk_id=2)
    tail = np.zeros(160 * spec.tail_frames, np.float32)
    features = Fbank(description.fbank).whole(np.concatenate([samples, tail]))
    states = {state.name: np.zeros(state.shape, np.dtype(state.dtype)) for state in spec.states}
    start = past = 0
    while (left := len(features) - start) >= (spec.tail_context or spec.context):
        window = np.full((1, spec.window_frames, spec.num_bins), description.fbank.pad_value, np.float32)
        window[0, : min(left, spec.window_frames)] = features[start : start + spec.window_frames]
        feeds = {names.features: window, **states}
        if names.lengths:
            feeds[names.lengths] = np.array([spec.window_frames])
        if names.counter:
            feeds[names.counter] = np.array([past])
        outputs = graph.run(feeds)
        states = {state.name: outputs[state.output] for state in spec.states}
        reference.push(outputs[names.out][0][: (left - (spec.tail_context or spec.context)) // spec.subsampling + 1])
        start, past = start + 4 * spec.chunk, past + spec.chunk
    nbest = stream(engine, samples, options=options)[0]
    assert [path.tokens for path in reference.nbest()] == [tuple(tokens.tolist()) for tokens in nbest.tokens]
    assert [path.times for path in reference.nbest()] == [tuple(times.tolist()) for times in nbest.times]
    assert reference.frame == nbest.frames


@pytest.mark.parametrize("name", ["k2", "k5"])
def test_every_encoder_frame_of_the_audio_is_searched(name):
    engine = open_model(MODELS / name).streaming
    for seconds in (0.05, 0.2, 0.33, 0.64, 1.0, 1.27):
        framing = engine.framing
        frames = framing.fbank.num_frames(int(seconds * 16000) + 160 * framing.tail_frames)
        expected = (frames - framing.min_frames) // 4 + 1
        assert stream(engine, noise(seconds, 1), options=BEAM)[0].frames == expected


def test_segment_keeps_the_encoder_s_state_and_the_last_tokens():
    engine = open_model(MODELS / "k2").streaming
    cut = windows(engine, noise(3.0, 5))
    unbroken = [output.nbest for output in map(engine.run, [[item] for item in items(0, cut)]) for output in output]
    middle = next(index for index, nbest in enumerate(unbroken) if len(nbest.tokens[0]) > 2)
    greedy = TransducerOptions(method="greedy_search")
    plan = items(0, cut, greedy)
    whole = [engine.run([item])[0].nbest for item in plan]
    plan[middle + 1] = replace(plan[middle + 1], restart_search=True)
    parts = [engine.run([item])[0].nbest for item in plan]
    joined = [*parts[middle].tokens[0], *parts[-1].tokens[0]]
    assert joined == whole[-1].tokens[0].tolist(), "a greedy stream says the same, cut or uncut"
    assert parts[-1].frames == whole[-1].frames - whole[middle].frames


@pytest.mark.parametrize("name", OFFLINE)
def test_recording_in_a_batch_equals_recording_alone(name):
    engine = open_model(MODELS / name).offline
    batch = [OfflineItem(noise(0.04 + 0.5 * index, index), BEAM) for index in range(5)]
    outputs = engine.run(batch)
    assert outputs[0].nbest.tokens[0].tolist() == []
    assert any(len(output.nbest.tokens[0]) > 3 for output in outputs)
    for item, output in zip(batch, outputs, strict=True):
        same_nbest(output.nbest, engine.run([item])[0].nbest, 1e-3)


def test_ctc_models_of_icefall_stream_and_recognise():
    streaming, offline = open_model(MODELS / "k3-streaming").streaming, open_model(MODELS / "k3").offline
    alone = [stream(streaming, noise(1.0 + index, index))[0] for index in range(2)]
    assert all(len(nbest.tokens[0]) > 0 for nbest in alone)
    batch = [OfflineItem(noise(1.0 + index, index), CTC_GREEDY) for index in range(3)]
    for item, output in zip(batch, offline.run(batch), strict=True):
        same_nbest(output.nbest, offline.run([item])[0].nbest, 1e-3)


def test_search_of_another_kind_of_model_is_refused_before_the_step():
    transducer, ctc = open_model(MODELS / "k2").streaming, open_model(MODELS / "k3-streaming").streaming
    for engine, options, needs in ((transducer, CTC_GREEDY, "needs a CTC model"), (ctc, BEAM, "needs a transducer")):
        with pytest.raises(BadOption, match=needs):
            engine.run(items(0, windows(engine, noise(0.5)), options)[:1])


def test_slot_that_does_not_exist_is_refused():
    engine = open_model(MODELS / "k2").streaming
    with pytest.raises(IndexError):
        engine.run(items(8, windows(engine, noise(0.5)))[:1])


@pytest.mark.parametrize("method", METHODS[1:])
def test_hotwords_of_an_item_count_in_its_stream_alone(method):
    engine, options = open_model(MODELS / "k2").streaming, TransducerOptions(method=method)
    cut = windows(engine, noise(2.0, 4))
    plain = [engine.run([item])[0].nbest for item in items(0, cut, options)][-1]
    bias = Bias(build_graph([plain.tokens[0][:2].tolist()], [2.0]))
    plans = [items(0, cut, options), [replace(item, bias=bias) for item in items(1, cut, options)]]
    outputs = [engine.run(list(pair)) for pair in zip(*plans, strict=True)][-1]
    same_nbest(outputs[0].nbest, plain, 1e-3)
    assert outputs[0].nbest.bonus is None
    assert outputs[1].nbest.bonus.hotwords.max() >= 4.0
