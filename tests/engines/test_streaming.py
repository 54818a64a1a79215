"""Streams through every family: batches, restarts, tails, limits, and agreement with whole recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.errors import EngineFailed
from engines.load import EngineOptions
from engines.streaming import StepItem
from speech.errors import BadOption
from speech.framing import Window
from speech.search import SearchOptions
from tests.engines import graphs
from tests.engines.graphs import Mini
from tests.engines.helpers import BEAM, GREEDY, items, noise, open_model, same_nbest, stream, windows

EIGHT = Mini(subsampling=8, context=15, chunk=8, left=1)
Make = Callable[[Path, Mini], object]

STREAMING: dict[str, Make] = {
    "w2": lambda folder, mini: graphs.gpu_model(folder, mini),
    "w3": lambda folder, mini: graphs.cpu_model(folder, mini),
    "w4": lambda folder, mini: (graphs.units(folder, mini), graphs.w4_streaming(folder / "model.onnx", mini)),
}


@pytest.mark.parametrize("mini", [Mini(), EIGHT], ids=["by four", "by eight"])
@pytest.mark.parametrize("family", STREAMING)
def test_stream_in_a_batch_equals_stream_alone(tmp_path: Path, family: str, mini: Mini) -> None:
    STREAMING[family](tmp_path, mini)
    engine = open_model(tmp_path).streaming
    assert engine is not None
    # Neighbours of every length, ending at different steps with every partial window there is.
    audio = [noise(0.3 + 0.37 * index, index) for index in range(6)]
    alone = [stream(engine, samples) for samples in audio]
    plans = [items(slot, windows(engine, samples)) for slot, samples in enumerate(audio)]
    last, rows = {}, {slot: [] for slot in range(len(plans))}
    for step in range(max(map(len, plans))):
        batch = [plan[step] for plan in plans if step < len(plan)]
        for item, output in zip(batch, engine.run(batch[::-1])[::-1], strict=True):
            last[item.slot] = output.nbest
            rows[item.slot].append(output.kept)
    for slot, (nbest, encoder_out, _) in enumerate(alone):
        same_nbest(last[slot], nbest)
        if family != "w4":
            np.testing.assert_allclose(np.concatenate(rows[slot]), encoder_out, atol=1e-5)


@pytest.mark.parametrize("family", STREAMING)
def test_streams_of_random_rhythm_do_not_see_each_other(tmp_path: Path, family: str) -> None:
    STREAMING[family](tmp_path, Mini())
    engine = open_model(tmp_path).streaming
    assert engine is not None
    rng = np.random.default_rng(1)
    audio = [noise(rng.uniform(0.2, 1.5), seed) for seed in range(12)]
    alone = [stream(engine, samples, options=GREEDY)[0] for samples in audio]
    waiting = list(range(len(audio)))
    running: dict[int, tuple[int, list[StepItem]]] = {}  # slot to recording and what is left of it
    while waiting or running:
        for slot in set(range(engine.num_slots)) - running.keys():
            if waiting:
                recording = waiting.pop()
                running[slot] = recording, items(slot, windows(engine, audio[recording]), GREEDY)
        chosen = [slot for slot in sorted(running) if rng.random() < 0.6]
        outputs = engine.run([running[slot][1].pop(0) for slot in chosen])
        for slot, output in zip(chosen, outputs, strict=True):
            recording, left = running[slot]
            if not left:
                same_nbest(output.nbest, alone[recording])
                del running[slot]


@pytest.mark.parametrize("mini", [Mini(left=16), replace(EIGHT, left=8)], ids=["by four", "by eight"])
@pytest.mark.parametrize("seconds", [0.2, 0.64, 1.337, 2.0])
def test_streaming_with_all_of_the_past_equals_the_whole_recording(tmp_path: Path, mini: Mini, seconds: float) -> None:
    graphs.gpu_model(tmp_path / "online", mini)
    graphs.gpu_model(tmp_path / "whole", mini, streaming=False)
    online, whole = open_model(tmp_path / "online").streaming, open_model(tmp_path / "whole").offline
    assert online is not None
    assert whole is not None
    from engines.recordings import OfflineItem

    samples = noise(seconds, 3)
    nbest, _, _ = stream(online, samples)
    output = whole.run([OfflineItem(samples, BEAM)])[0]
    same_nbest(nbest, output.nbest)
    assert output.num_frames == nbest.frames


def test_growing_cache_equals_a_cache_that_is_large_enough(tmp_path: Path) -> None:
    graphs.cpu_model(tmp_path / "growing", Mini(left=-1))
    graphs.gpu_model(tmp_path / "large", Mini(left=16))
    growing, large = open_model(tmp_path / "growing").streaming, open_model(tmp_path / "large").streaming
    assert growing is not None
    assert large is not None
    samples = noise(2.0, 4)
    one, other = stream(growing, samples), stream(large, samples)
    np.testing.assert_allclose(one[1], other[1], atol=1e-4)


def test_cache_without_left_context_equals_each_chunk_alone(tmp_path: Path) -> None:
    mini = Mini(left=0)
    graphs.cpu_model(tmp_path, mini)
    engine = open_model(tmp_path).streaming
    assert engine is not None
    cut = windows(engine, noise(1.0, 5))
    assert len(cut) > 2
    outputs = [engine.run([item])[0].kept for item in items(0, cut)]
    again = [engine.run([item])[0].kept for item in items(1, cut)]
    for one, other in zip(outputs, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gpu_and_cpu_export_differ_by_their_first_position_only(tmp_path: Path) -> None:
    # W2 numbers its first frame 0, W3 numbers it chunk * left: with a table that does not vary they agree.
    mini = Mini()
    table = mini.weights()["table"]
    constant = np.broadcast_to(table[:1], table.shape)

    class Flat(Mini):
        def weights(self) -> dict[str, np.ndarray]:
            return {**super().weights(), "table": np.ascontiguousarray(constant)}

    graphs.gpu_model(tmp_path / "gpu", Flat())
    graphs.cpu_model(tmp_path / "cpu", Flat())
    gpu, cpu = open_model(tmp_path / "gpu").streaming, open_model(tmp_path / "cpu").streaming
    assert gpu is not None
    assert cpu is not None
    samples = noise(2.1, 6)
    np.testing.assert_allclose(stream(gpu, samples)[1], stream(cpu, samples)[1], atol=1e-4)


def test_slot_used_again_starts_from_nothing(tmp_path: Path) -> None:
    for family, make in STREAMING.items():
        folder = tmp_path / family
        make(folder, Mini())
        engine = open_model(folder).streaming
        assert engine is not None
        first, _, _ = stream(engine, noise(0.8, 7))
        stream(engine, noise(1.1, 8))
        engine.close_slot(0)
        again, _, _ = stream(engine, noise(0.8, 7))
        same_nbest(first, again, 1e-6)


def test_encoder_may_go_on_while_the_search_begins_a_segment(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    engine = open_model(tmp_path).streaming
    assert engine is not None
    cut = windows(engine, noise(1.2, 9))
    whole = [engine.run([item])[0] for item in items(0, cut)]
    parts = [
        engine.run([StepItem(1, window, index == 0, index in (0, 3), BEAM, True)])[0]
        for index, window in enumerate(cut)
    ]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.kept, other.kept)
    assert parts[3].nbest.frames == parts[3].num_frames


def test_encoder_frames_of_a_stream_are_those_of_its_audio(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    engine = open_model(tmp_path).streaming
    assert engine is not None
    for count in range(6000, 8000, 160):
        outputs = stream(engine, noise(count / 16000, 1))[2]
        frames = engine.framing.fbank.num_frames(count)
        assert sum(output.num_frames for output in outputs) == engine.framing.encoder_frames(frames)


def test_wenet_rule_counts_the_frame_that_saw_padding(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "model.toml").write_text('partial_frames = "wenet"\n')
    engine = open_model(tmp_path).streaming
    assert engine is not None
    window = Window(np.zeros(engine.framing.window_samples, np.float32), 12, 0, is_last=True)
    output = engine.run([StepItem(0, window, True, True, BEAM)])[0]
    assert output.num_frames == 3  # 12 // 4; unpadded convolutions give 2


def test_stream_beyond_the_positions_restarts_instead_of_failing_its_neighbours(tmp_path: Path) -> None:
    for family, make in STREAMING.items():
        folder = tmp_path / family
        make(folder, Mini(positions=30))
        engine = open_model(folder).streaming
        assert engine is not None
        assert engine.position_limit_frames in (28, 20)
        nbest, _, outputs = stream(engine, noise(3.0, 2))
        assert nbest.frames == sum(output.num_frames for output in outputs) > 60


def test_half_precision_streams_like_full_precision(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path / "full")
    graphs.units(tmp_path / "half")
    graphs.w2(tmp_path / "half" / "encoder_fp16.onnx", half=True)
    full, half = open_model(tmp_path / "full").streaming, open_model(tmp_path / "half").streaming
    assert full is not None
    assert half is not None
    samples = noise(1.4, 10)
    one, other = stream(full, samples, options=GREEDY), stream(half, samples, options=GREEDY)
    assert other[1].dtype == np.float32
    np.testing.assert_allclose(one[1], other[1], atol=0.05)


def test_graph_with_all_log_probs_equals_graph_with_the_best(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path / "best", Mini(beam=10))
    graphs.gpu_model(tmp_path / "all", Mini(beam=10))
    graphs.w2(tmp_path / "all" / "encoder.onnx", Mini(beam=10), full=True)
    best, everything = open_model(tmp_path / "best").streaming, open_model(tmp_path / "all").streaming
    assert best is not None
    assert everything is not None
    same_nbest(stream(best, noise(1.0, 11))[0], stream(everything, noise(1.0, 11))[0])


def test_fixed_batch_of_one_runs_any_number_of_streams(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path / "one")
    graphs.w2(tmp_path / "one" / "encoder.onnx", batch=1)
    graphs.gpu_model(tmp_path / "many")
    one, many = open_model(tmp_path / "one").streaming, open_model(tmp_path / "many").streaming
    assert one is not None
    assert many is not None
    assert (one.batch_limit, many.batch_limit) == (1, 6)
    batches = [[items(slot, windows(engine, noise(0.5, slot)))[0] for slot in range(4)] for engine in (one, many)]
    for left, right in zip(one.run(batches[0]), many.run(batches[1]), strict=True):
        same_nbest(left.nbest, right.nbest)


def test_outputs_do_not_change_with_later_steps(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    engine = open_model(tmp_path).streaming
    assert engine is not None
    plan = items(0, windows(engine, noise(1.0, 12)))
    first = engine.run([plan[0]])[0]
    assert first.kept is not None
    rows, scores = first.kept.copy(), first.nbest.scores.copy()
    for item in plan[1:]:
        engine.run([item])
    np.testing.assert_array_equal(first.kept, rows)
    np.testing.assert_array_equal(first.nbest.scores, scores)


def test_encoder_output_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    engine = open_model(tmp_path).streaming
    assert engine is not None
    plan = items(0, windows(engine, noise(0.5)), keep=None)
    assert engine.run([plan[0]])[0].kept is None


def test_padding_after_a_window_s_valid_frames_does_not_matter(tmp_path: Path) -> None:
    for family, make in STREAMING.items():
        make(tmp_path / family, Mini())
        engine = open_model(tmp_path / family).streaming
        assert engine is not None
        samples = noise(1.0, 13)[: engine.framing.window_samples]
        clean = samples.copy()
        clean[engine.framing.fbank.num_samples(11) :] = 0
        dirty = Window(samples, 11, 0, is_last=True)
        results = [
            engine.run([StepItem(slot, window, True, True, BEAM)])[0]
            for slot, window in ((0, dirty), (1, Window(clean, 11, 0, is_last=True)))
        ]
        same_nbest(results[0].nbest, results[1].nbest, 1e-6)


def test_too_wide_a_beam_is_refused_before_any_stream_moves(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    engine = open_model(tmp_path).streaming
    assert engine is not None
    cut = windows(engine, noise(0.6, 14))
    plan = items(0, cut)
    expected = [engine.run([item])[0].nbest for item in plan]
    engine.run([plan[0]])
    wide = StepItem(1, cut[0], True, True, SearchOptions(beam_size=129))
    with pytest.raises(BadOption, match="beam_size is 129"):
        engine.run([plan[1], wide])
    same_nbest(engine.run([plan[1]])[0].nbest, expected[1])


def test_token_beyond_the_table_is_an_engine_failure(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    for name in ("train.yaml", "decoder.onnx"):
        (tmp_path / name).unlink()
    graphs.units(tmp_path, Mini(vocab=8))
    engine = open_model(tmp_path).streaming
    assert engine is not None
    with pytest.raises(EngineFailed, match="the token file has 8"):
        stream(engine, noise(2.0))


def test_warm_up_leaves_no_trace(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    engine = open_model(tmp_path, msgspec.structs.replace(EngineOptions(), num_slots=3, threads=1)).streaming
    assert engine is not None
    before = stream(engine, noise(0.7, 15))[0]
    engine.warm_up((1, 2, 100))
    same_nbest(stream(engine, noise(0.7, 15))[0], before, 1e-6)
