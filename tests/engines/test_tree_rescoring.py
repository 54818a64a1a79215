"""Rescoring over prefix trees: the formula, the ordinary decoder's winners, limits, and folders that are not right."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines import tree_rescoring
from engines.describe import inspect
from engines.description import RescoringSpec
from engines.ort import OrtOptions
from engines.report import describe_text
from engines.rescoring import RescoreItem, Rescorer
from engines.tree_rescoring import TreeDecoder
from speech.errors import BadOption
from speech.search import Nbest
from speech.search.prefix_tree import prefix_tree
from tests.engines import graphs
from tests.engines.test_rescoring import MINI, combined, segment

EMBEDDED = Path(__file__).parents[2] / "models" / "english-u2pp"


def spec_of(folder: Path) -> RescoringSpec:
    description = inspect(folder)
    assert description.problems == ()
    assert description.rescoring is not None
    return description.rescoring


def alike(rng: np.random.Generator, count: int, length: int, vocab: int) -> tuple[np.ndarray, ...]:
    """Hypotheses as a search finds them: one with a token changed, left out or put in here and there."""
    base = rng.integers(3, vocab, length)
    found = [base]
    while len(found) < count:
        tokens = found[int(rng.integers(len(found)))].tolist()
        place = int(rng.integers(len(tokens)))
        tokens[place : place + int(rng.integers(2))] = rng.integers(3, vocab, rng.integers(2)).tolist()
        if tokens and all(tokens != other.tolist() for other in found):
            found.append(np.array(tokens))
    return tuple(tokens.astype(np.int32) for tokens in found)


def as_item(rng: np.random.Generator, tokens: tuple[np.ndarray, ...], frames: int, width: int) -> RescoreItem:
    times = tuple(np.zeros(len(each), np.int32) for each in tokens)
    confidences = tuple(np.ones(len(each), np.float32) for each in tokens)
    scores = -np.sort(rng.uniform(1, 8, len(tokens)))
    encoder_out = rng.standard_normal((frames, width)).astype(np.float32)
    return RescoreItem(encoder_out, Nbest(tokens, scores, times, confidences, 0, frames))


@pytest.mark.parametrize("reverse_weight", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("ctc_weight", [None, 0.0, 2.0])
def test_order_follows_the_formula_with_any_weights(
    tmp_path: Path, ctc_weight: float | None, reverse_weight: float | None
) -> None:
    model = Rescorer(spec_of(graphs.add_trees(graphs.gpu_model(tmp_path))), 8, OrtOptions())
    rng = np.random.default_rng(0)
    model.check(ctc_weight, reverse_weight)
    for count in (2, 7, 20):
        item = segment(rng, count, 9)
        item = RescoreItem(item.heard, item.nbest, ctc_weight, reverse_weight)
        expected = combined(
            item,
            MINI.ctc_weight if ctc_weight is None else ctc_weight,
            MINI.reverse_weight if reverse_weight is None else reverse_weight,
        )
        result = model.run([item])[0]
        best = item.nbest.tokens[int(expected.argmax())]
        np.testing.assert_array_equal(result.tokens[0], best)
        assert sorted(result.scores) == sorted(item.nbest.scores)


def test_embedded_model_finds_the_winners_of_its_ordinary_decoder() -> None:
    spec = spec_of(EMBEDDED)
    trees = Rescorer(spec, 8, OrtOptions())
    ordinary = Rescorer(msgspec.structs.replace(spec, left_tree=None, right_tree=None), 8, OrtOptions())
    rng = np.random.default_rng(1)
    items = [as_item(rng, alike(rng, 24, 12, 320), int(rng.integers(5, 60)), 288) for _ in range(12)]
    found = [nbest.tokens[0].tolist() for nbest in trees.run(items)]
    assert found == [nbest.tokens[0].tolist() for nbest in ordinary.run(items)]
    assert any(tokens != item.nbest.tokens[0].tolist() for tokens, item in zip(found, items, strict=True))


def test_a_hypothesis_scores_in_a_tree_what_it_scores_alone() -> None:
    spec = spec_of(EMBEDDED)
    decoder = TreeDecoder(spec, OrtOptions())
    assert decoder._right is not None
    rng = np.random.default_rng(2)
    hypotheses = alike(rng, 30, 15, 320)
    frames = rng.standard_normal((40, 288)).astype(np.float32)
    for model, is_reversed in ((decoder._left, False), (decoder._right, True)):
        together = decoder._scores(model, frames, prefix_tree(hypotheses, spec.sos, is_reversed=is_reversed))
        alone = [
            decoder._scores(model, frames, prefix_tree([tokens], spec.sos, is_reversed=is_reversed))[0]
            for tokens in hypotheses
        ]
        np.testing.assert_allclose(together, alone, atol=1e-3, rtol=0)
        assert np.ptp(alone) > 1


def test_rivals_alone_are_read_backwards_and_stand_before_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Rescorer(spec_of(graphs.add_trees(graphs.gpu_model(tmp_path))), 8, OrtOptions())
    monkeypatch.setattr(tree_rescoring, "REVERSE_SPREAD", 0.0)
    item = segment(np.random.default_rng(3), 8, 9)
    before_reverse = combined(item, MINI.ctc_weight / (1 - MINI.reverse_weight), 0.0)
    result = model.run([item])[0]
    expected = [item.nbest.tokens[index].tolist() for index in np.argsort(-before_reverse)]
    assert [tokens.tolist() for tokens in result.tokens] == expected


def test_long_lists_keep_what_is_not_read_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_rescoring, "MAX_NODES", 40)
    model = Rescorer(spec_of(EMBEDDED), 8, OrtOptions())
    rng = np.random.default_rng(4)
    item = as_item(rng, alike(rng, 30, 12, 320), 30, 288)
    read = len(prefix_tree(item.nbest.tokens, 2, limit=40, at_least=tree_rescoring.MIN_HYPOTHESES).leaves)
    assert tree_rescoring.MIN_HYPOTHESES <= read < 30
    result = model.run([item])[0]
    assert [each.tolist() for each in result.tokens[read:]] == [each.tolist() for each in item.nbest.tokens[read:]]


def test_report_names_the_trees() -> None:
    assert "left_tree.onnx and right_tree.onnx" in describe_text(inspect(EMBEDDED))


def test_weights_out_of_range_are_refused(tmp_path: Path) -> None:
    model = Rescorer(spec_of(graphs.add_trees(graphs.gpu_model(tmp_path))), 8, OrtOptions())
    with pytest.raises(BadOption, match=r"reverse_weight is 1\.5; allowed is 0 to 1"):
        model.check(None, 1.5)


@pytest.mark.parametrize(
    ("decoder", "problem"),
    [
        ('left_tree = "left_tree.onnx"', "needs left_tree and right_tree: decoder.onnx reads in both directions"),
        ('left_tree = "decoder.onnx"\nright_tree = "right_tree.onnx"', "a best-index decoder; expected a prefix-tree"),
        ('left_tree = "none.onnx"\nright_tree = "right_tree.onnx"', "none.onnx: no such file"),
        ('left_tree = "wide.onnx"\nright_tree = "right_tree.onnx"', "wide.onnx takes 16 values per encoder frame"),
        ('left_tree = "few.onnx"\nright_tree = "right_tree.onnx"', "few.onnx does not know just the 12 tokens"),
    ],
)
def test_trees_that_do_not_fit_are_problems(tmp_path: Path, decoder: str, problem: str) -> None:
    graphs.add_trees(graphs.gpu_model(tmp_path), decoder=decoder)
    graphs.tree_decoder(tmp_path / "wide.onnx", graphs.Mini(dim=16))
    graphs.tree_decoder(tmp_path / "few.onnx", graphs.Mini(vocab=11))
    assert any(problem in each for each in inspect(tmp_path).problems)


def test_trees_need_weights(tmp_path: Path) -> None:
    graphs.add_trees(graphs.gpu_model(tmp_path))
    (tmp_path / "train.yaml").unlink()
    assert any("must state ctc_weight and reverse_weight" in each for each in inspect(tmp_path).problems)
