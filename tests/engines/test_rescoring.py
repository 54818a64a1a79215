"""Attention rescoring: the formula, both kinds of decoder, batches of unlike segments, weights, and empty segments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.describe import inspect
from engines.ort import OrtModel, OrtOptions
from engines.rescoring import MIN_HYPOTHESES, RescoreItem, Rescorer
from speech.errors import BadOption
from speech.search import Nbest
from tests.engines import graphs
from tests.engines.graphs import Mini

MINI = Mini()


def rescorer(folder: Path, max_batch: int = 8) -> Rescorer:
    description = inspect(folder)
    assert description.problems == ()
    assert description.rescoring is not None
    return Rescorer(description.rescoring, max_batch, OrtOptions())


def nbest(rng: np.random.Generator, count: int, longest: int = 7) -> Nbest:
    tokens = tuple(rng.integers(2, MINI.vocab - 1, rng.integers(0, longest + 1)).astype(np.int32) for _ in range(count))
    scores = np.sort(rng.uniform(-12, -1, count))[::-1].copy()
    empty = tuple(np.zeros(len(each), np.int32) for each in tokens)
    return Nbest(tokens, scores, empty, tuple(each.astype(np.float32) for each in empty), 0, 20)


def first_of(whole: Nbest, count: int) -> Nbest:
    return replace(
        whole,
        tokens=whole.tokens[:count],
        scores=whole.scores[:count],
        times=whole.times[:count],
        confidences=whole.confidences[:count],
    )


def segment(rng: np.random.Generator, count: int, frames: int, **weights: float) -> RescoreItem:
    return RescoreItem(rng.standard_normal((frames, MINI.dim)).astype(np.float32), nbest(rng, count), **weights)


def combined(item: RescoreItem, ctc_weight: float, reverse_weight: float) -> np.ndarray:
    """The formula in plain numpy, from the weights that the decoders were made of."""
    weights = MINI.weights()
    sos = eos = MINI.vocab - 1
    context = item.heard.mean(axis=0)

    def attention(tokens: list[int], output: str) -> float:
        hidden = np.tanh(weights["token"][[sos, *tokens]] + context) @ weights[output]
        log_probs = hidden - np.log(np.exp(hidden).sum(axis=1, keepdims=True))
        return float(sum(log_probs[place, token] for place, token in enumerate([*tokens, eos])))

    return np.array(
        [
            (1 - reverse_weight) * attention(tokens.tolist(), "out")
            + reverse_weight * attention(tokens[::-1].tolist(), "r_out")
            + ctc_weight * score
            for tokens, score in zip(item.nbest.tokens, item.nbest.scores, strict=True)
        ]
    )


@pytest.mark.parametrize("reverse_weight", [0.0, 0.3])
def test_scores_follow_the_formula(tmp_path: Path, reverse_weight: float) -> None:
    graphs.cpu_model(tmp_path)
    rng = np.random.default_rng(0)
    items = [segment(rng, count, 5 + count, ctc_weight=0.4, reverse_weight=reverse_weight) for count in (2, 7, 3)]
    for item, result in zip(items, rescorer(tmp_path).run(items), strict=True):
        expected = combined(item, 0.4, reverse_weight)
        np.testing.assert_allclose(result.scores, np.sort(expected)[::-1], atol=1e-4)
        best = item.nbest.tokens[int(expected.argmax())]
        np.testing.assert_array_equal(result.tokens[0], best)


def test_best_index_is_the_best_of_the_formula(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    rng = np.random.default_rng(1)
    items = [segment(rng, 2 + index % 4, 3 + index) for index in range(20)]
    changed = 0
    for item, result in zip(items, rescorer(tmp_path).run(items), strict=True):
        expected = combined(item, MINI.ctc_weight, MINI.reverse_weight)
        best = int(expected.argmax())
        np.testing.assert_array_equal(result.tokens[0], item.nbest.tokens[best])
        assert result.scores[0] == item.nbest.scores[best]
        assert sorted(result.scores) == sorted(item.nbest.scores)
        changed += best != 0
    assert 0 < changed < 20


@pytest.mark.parametrize("bidirectional", [True, False])
def test_segment_in_a_batch_equals_segment_alone(tmp_path: Path, bidirectional: bool) -> None:
    graphs.gpu_model(tmp_path, bidirectional=bidirectional)
    rng = np.random.default_rng(2)
    items = [segment(rng, int(rng.integers(1, 6)), int(rng.integers(1, 60))) for _ in range(24)]
    alone = rescorer(tmp_path, max_batch=1).run(items)
    together = rescorer(tmp_path, max_batch=16).run(items)
    for one, other in zip(alone, together, strict=True):
        assert [tokens.tolist() for tokens in one.tokens] == [tokens.tolist() for tokens in other.tokens]


def test_a_long_segment_has_fewer_hypotheses_read_and_a_short_one_all() -> None:
    frames = np.zeros((9, MINI.dim), np.float32)
    lengths = {5: 60, 22: 60, 100: 15, 1000: MIN_HYPOTHESES}
    for longest, expected in lengths.items():
        tokens = tuple(np.full(longest, 3, np.int32) for _ in range(60))
        empty = tuple(np.zeros(0, np.int32) for _ in tokens)
        item = RescoreItem(frames, Nbest(tokens, np.zeros(60), empty, tuple(e.astype(np.float32) for e in empty), 0, 9))
        assert item.num_read == expected
        assert item.num_tokens == expected * (longest + 2)


def test_what_is_not_read_has_no_say_and_stays_behind() -> None:
    spec = inspect(Path(__file__).parents[2] / "models" / "english-u2pp").rescoring
    assert spec is not None
    model = Rescorer(msgspec.structs.replace(spec, left_tree=None, right_tree=None), 8, OrtOptions())
    rng = np.random.default_rng(12)
    encoder_out = rng.standard_normal((30, 288)).astype(np.float32)
    given = nbest(rng, 40, longest=70)
    winner = model.run([RescoreItem(encoder_out, given, ctc_weight=0.0)])[0].tokens[0].tolist()
    ranks = sorted(range(40), key=lambda index: given.tokens[index].tolist() == winner)
    whole = given.reordered(ranks, given.scores)
    item = RescoreItem(encoder_out, whole, ctc_weight=0.0)
    assert MIN_HYPOTHESES < item.num_read < 40
    result, _ = model.run([item, RescoreItem(encoder_out[:9], nbest(rng, 3))])
    expected = model.run([RescoreItem(encoder_out, first_of(whole, item.num_read), ctc_weight=0.0)])[0]
    assert result.tokens[0].tolist() == expected.tokens[0].tolist() != winner
    assert result.tokens[-1].tolist() == winner


def test_graph_without_reverse_input_is_fed_without_it(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, bidirectional=False)
    model = rescorer(tmp_path)
    assert not model.spec.is_bidirectional
    item = segment(np.random.default_rng(3), 4, 9)
    best = int(combined(item, MINI.ctc_weight, 0.0).argmax())
    np.testing.assert_array_equal(model.run([item])[0].tokens[0], item.nbest.tokens[best])


def test_hypotheses_beyond_the_graph_s_beam_keep_their_place(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    item = segment(np.random.default_rng(4), 9, 12)
    result = rescorer(tmp_path).run([item])[0]
    assert len(result.tokens) == 9
    assert [tokens.tolist() for tokens in result.tokens[5:]] == [tokens.tolist() for tokens in item.nbest.tokens[5:]]


def test_scores_beyond_half_precision_do_not_win_by_padding(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    item = segment(np.random.default_rng(5), 3, 12)
    hopeless = RescoreItem(item.heard, item.nbest.reordered([0, 1, 2], np.array([-3e4, -4e4, -np.inf])))
    result = rescorer(tmp_path).run([hopeless])[0]
    assert len(result.tokens) == 3


def test_nothing_to_choose_comes_back_as_it_is(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    rng = np.random.default_rng(6)
    items = [segment(rng, 1, 9), segment(rng, 3, 0), segment(rng, 3, 9)]
    results = rescorer(tmp_path).run(items)
    assert results[0] is items[0].nbest
    assert results[1] is items[1].nbest
    assert rescorer(tmp_path).run([]) == []


def test_ctc_weight_of_a_request_reaches_a_graph_with_its_own(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    model = rescorer(tmp_path)
    rng = np.random.default_rng(7)
    for _ in range(10):
        item = segment(rng, 5, 15, ctc_weight=2.0)
        best = int(combined(item, 2.0, MINI.reverse_weight).argmax())
        np.testing.assert_array_equal(model.run([item])[0].tokens[0], item.nbest.tokens[best])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((-1.0, None), "ctc_weight is -1.0; allowed is 0 or more"),
        ((float("nan"), None), "ctc_weight is nan"),
        ((None, 1.5), "reverse_weight is 1.5; allowed is 0 to 1"),
        ((None, 0.9), r"fixed in its graph \(0.3\)"),
    ],
)
def test_weights_that_the_model_cannot_use_are_refused(
    tmp_path: Path, weights: tuple[float | None, float | None], message: str
) -> None:
    graphs.gpu_model(tmp_path)
    with pytest.raises(BadOption, match=message):
        rescorer(tmp_path).check(*weights)


def test_unknown_weights_cannot_be_changed(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "train.yaml").unlink()
    model = rescorer(tmp_path)
    model.check(None, None)
    with pytest.raises(BadOption, match="not known"):
        model.check(0.5, None)


def test_reverse_weight_needs_a_reverse_decoder(tmp_path: Path) -> None:
    graphs.cpu_model(tmp_path, bidirectional=False)
    model = rescorer(tmp_path)
    model.check(0.3, 0.0)
    with pytest.raises(BadOption, match="left to right only"):
        model.check(0.3, 0.5)


def test_sentence_tokens_of_the_metadata_count(tmp_path: Path) -> None:
    graphs.cpu_model(tmp_path)
    graphs.scores_decoder(tmp_path / "decoder.onnx", sos_symbol=2, eos_symbol=3)
    description = inspect(tmp_path)
    assert description.rescoring is not None
    assert (description.rescoring.sos, description.rescoring.eos) == (2, 3)
    assert any("sos_symbol 2" in note for note in description.notes)


def test_decoder_runs_on_the_shapes_it_declares(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    assert OrtModel(tmp_path / "decoder.onnx", OrtOptions()).inputs["ctc_score"].size(1) == MINI.beam
