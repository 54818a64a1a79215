"""The second pass: what it reads and proposes has the scores of the formula, in the order of the formula."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines import second_pass
from engines.describe import inspect
from engines.load import EngineOptions, load
from engines.ort import OrtOptions
from engines.recordings import OfflineItem
from engines.report import describe_text
from engines.rescoring import RescoreItem, Rescorer
from engines.second_pass import SecondPass
from engines.sidefiles import read_tokens
from speech.biasing import Bias
from speech.biasing.context_graph import build_graph
from speech.errors import BadOption
from speech.search import Nbest, SearchOptions
from speech.search.alignment import align
from speech.tokens import TokenTable
from tests.engines import graphs
from tests.engines.graphs import SECOND_PIECES, Mini

MINI = Mini()
SOS, EOS = 1, 2
FRAMES = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return graphs.add_second_pass(graphs.add_trees(graphs.gpu_model(tmp_path)))


def opened(folder: Path, **changes: object) -> SecondPass:
    description = inspect(folder)
    assert description.problems == ()
    spec, path = description.second_pass, description.tokens_path
    assert spec is not None
    assert path is not None
    units = read_tokens(spec.units)
    return SecondPass(msgspec.structs.replace(spec, **changes), read_tokens(path), units, OrtOptions())


def frames(seed: int, count: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, MINI.dim)).astype(np.float32)


def listed(*texts: str, spread: int = 1) -> Nbest:
    """An n-best list of letters, a frame or more apart."""
    tokens = tuple(np.array([ord(letter) - ord("a") + 2 for letter in text], np.int32) for text in texts)
    times = tuple((spread * np.arange(len(each))).astype(np.int32) for each in tokens)
    confidences = tuple(np.ones(len(each), np.float32) for each in tokens)
    return Nbest(tokens, -np.arange(1.0, len(texts) + 1), times, confidences, 0, FRAMES)


def written(tokens: np.ndarray) -> str:
    return "".join(chr(ord("a") + token - 2) for token in tokens.tolist())


def attention(encoder_out: np.ndarray, units: list[int]) -> float:
    """The decoder's formula in plain numpy."""
    weights, total, known = graphs.second_weights(MINI), 0.0, np.zeros(MINI.dim)
    for depth, (token, following) in enumerate(itertools.pairwise([SOS, *units, EOS])):
        known = known + weights["token"][token] * (1 + 0.1 * depth)
        logits = np.tanh(known + encoder_out.mean(0)) @ weights["out"]
        total += float(logits[following] - np.logaddexp.reduce(logits))
    return total


def ctc(encoder_out: np.ndarray, tokens: np.ndarray) -> float:
    logits = encoder_out @ MINI.weights()["head"]
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return align(log_probs.astype(np.float32), tokens, 0).score


def spelled(text: str) -> list[int]:
    """As byte-pair encoding spells with SECOND_PIECES."""
    parts = list(text)
    while pairs := [(SECOND_PIECES.index(a + b), at) for at, (a, b) in enumerate(itertools.pairwise(parts))
                    if a + b in SECOND_PIECES]:  # fmt: skip
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [SECOND_PIECES.index(part) for part in parts]


@pytest.mark.parametrize("ctc_weight", [None, 0.0, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_order_is_that_of_the_formula(folder: Path, seed: int, ctc_weight: float | None) -> None:
    encoder_out, first = frames(seed), listed("abc", "abd", "cdef", "g")
    result = opened(folder).run(encoder_out, first, None, ctc_weight)
    weight = 0.2 if ctc_weight is None else ctc_weight
    totals = [attention(encoder_out, spelled(written(t))) + weight * ctc(encoder_out, t) for t in result.tokens]
    assert totals == sorted(totals, reverse=True)
    assert {written(tokens) for tokens in first.tokens} <= {written(tokens) for tokens in result.tokens}
    assert result.scores == pytest.approx([ctc(encoder_out, tokens) for tokens in result.tokens], abs=1e-3)


def test_it_proposes_what_the_first_pass_did_not_find(folder: Path) -> None:
    encoder_out, first = frames(1), listed("abc")
    model = opened(folder, beam_size=16, ctc_weight=0.0)
    result = model.run(encoder_out, first, None, None)
    letters = SECOND_PIECES[3:]
    texts = {"".join(parts) for count in range(4) for parts in itertools.product(letters, repeat=count)}
    scores = {text: attention(encoder_out, spelled(text)) for text in texts if len(text) <= 4}
    best = max(scores, key=lambda text: scores[text])
    found = attention(encoder_out, spelled(written(result.tokens[0])))
    assert found >= scores[best] - 1e-4
    assert written(result.tokens[0]) not in {"abc"}


def test_proposals_have_times_and_confidences_of_their_best_alignment(folder: Path) -> None:
    encoder_out = frames(2)
    result = opened(folder, beam_size=32).run(encoder_out, listed("abc"), None, None)
    logits = encoder_out @ MINI.weights()["head"]
    log_probs = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    assert len(result.tokens) > 1
    for tokens, times, confidences in zip(result.tokens, result.times, result.confidences, strict=True):
        expected = align(log_probs, tokens, 0)
        assert times.tolist() == expected.times.tolist()
        assert confidences == pytest.approx(expected.confidences, abs=1e-4)


def test_a_tree_gives_what_single_steps_give(folder: Path) -> None:
    """Texts read together, and each of them alone, have the same scores."""
    encoder_out, texts = frames(3), ("abc", "abcdef", "b", "abd")
    model = opened(folder, beam_size=1, ctc_weight=0.0)
    together = model.run(encoder_out, listed(*texts), None, None)
    order = [written(tokens) for tokens in together.tokens if written(tokens) in texts]
    alone = {text: attention(encoder_out, spelled(text)) for text in texts}
    assert order == sorted(texts, key=lambda text: -alone[text])


def test_hotwords_have_a_say(folder: Path) -> None:
    encoder_out, first = frames(4), listed("abc", "abd")
    for phrase in ("abc", "abd"):
        bias = Bias(build_graph([[ord(letter) - ord("a") + 2 for letter in phrase]], [50.0]))
        result = opened(folder).run(encoder_out, first, bias, None)
        assert phrase in written(result.tokens[0])


class LikesLetters(Bias):
    """A language model that gives every token its number, and nothing at the end."""

    def __init__(self) -> None:
        super().__init__()

    def advance(self, states: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([np.zeros(len(tokens)), 10.0 * tokens], 1), states


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_language_model_counts_by_its_share(folder: Path, share: float) -> None:
    encoder_out, first = frames(4), listed("abc", "abd", "iii")
    result = opened(folder, lm_scale=share).run(encoder_out, first, LikesLetters(), None)
    totals = [
        attention(encoder_out, spelled(written(t))) + 0.2 * ctc(encoder_out, t) + share * 10.0 * float(t.sum())
        for t in result.tokens
    ]
    assert totals == sorted(totals, reverse=True)


def test_silence_stays_silence(folder: Path) -> None:
    first = listed("", "a")
    assert opened(folder).run(frames(1), first, None, None) is first


def test_texts_that_do_not_fit_the_frames_never_win(folder: Path) -> None:
    encoder_out = frames(5, count=2)
    result = opened(folder).run(encoder_out, listed("ab", "abcdefghi"), None, None)
    assert all(len(tokens) <= 2 for tokens in result.tokens[:-1])


def test_a_sure_text_is_not_searched_further(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder_out, first, model = frames(6), listed("abc", "a"), opened(folder)
    asked: list[int] = []
    real = second_pass.propose
    monkeypatch.setattr(second_pass, "propose", lambda *args, **named: asked.append(1) or real(*args, **named))
    model.run(encoder_out, first, None, None)
    assert asked == [1]
    certain = second_pass._Text(first.tokens[0], 0.0, True, 0)
    monkeypatch.setattr(second_pass, "_walked", lambda tokens, *others: replace(certain, tokens=tokens))
    assert len(model.run(encoder_out, first, None, None).tokens) == 2
    assert asked == [1]


def test_where_the_text_is_sure_nothing_else_is_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search goes on from the first doubtful step: what it finds begins as the best text that was read."""
    encoder_out, first = frames(1), listed("abcdef")
    monkeypatch.setattr(second_pass, "SURE", 1e9)
    whole = opened(folder, beam_size=8, ctc_weight=0.0).run(encoder_out, first, None, None)
    monkeypatch.setattr(second_pass, "SURE", -1e9)
    end = opened(folder, beam_size=8, ctc_weight=0.0).run(encoder_out, first, None, None)
    assert not all(written(tokens).startswith("a") for tokens in whole.tokens)
    assert all(written(tokens).startswith("abcdef") for tokens in end.tokens)
    for result in (whole, end):
        totals = [attention(encoder_out, spelled(written(tokens))) for tokens in result.tokens]
        assert totals == sorted(totals, reverse=True)


def test_a_long_segment_is_read_in_pieces_cut_between_tokens(folder: Path) -> None:
    model = opened(folder, max_frames=FRAMES)
    text = "abcdefghiabcdefghi"
    encoder_out, first = frames(7, count=72), listed(text, spread=4)
    result = model.run(encoder_out, first, None, None)
    times = result.times[0].tolist()
    assert times == sorted(times)
    assert max(times) >= 60
    logits = encoder_out @ MINI.weights()["head"]
    log_probs = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    for token, time, confidence in zip(result.tokens[0], times, result.confidences[0], strict=True):
        assert confidence == pytest.approx(np.exp(log_probs[time, token]), rel=1e-3)
    assert [written(tokens) for tokens in result.tokens[1:]] in ([text], [])


def test_rescoring_items_choose_the_pass(folder: Path) -> None:
    description = inspect(folder)
    assert description.rescoring is not None
    rescorer = Rescorer(description.rescoring, 4, OrtOptions(), opened(folder))
    encoder_out, first = frames(8), listed("abc", "abd")
    plain, second = rescorer.run([RescoreItem(encoder_out, first), RescoreItem(encoder_out, first, second_pass=True)])
    assert {written(tokens) for tokens in plain.tokens} == {"abc", "abd"}
    expected = opened(folder).run(encoder_out, first, None, None)
    assert [written(tokens) for tokens in second.tokens] == [written(tokens) for tokens in expected.tokens]
    without = Rescorer(description.rescoring, 4, OrtOptions())
    with pytest.raises(BadOption, match="no second pass"):
        without.run([RescoreItem(encoder_out, first, second_pass=True)])


def test_recordings_use_it_too(tmp_path: Path) -> None:
    folder = graphs.add_trees(graphs.gpu_model(tmp_path, streaming=False), streaming=False)
    model = load(inspect(graphs.add_second_pass(folder, more="beam_size = 32\n")), EngineOptions(threads=1))
    assert model.offline is not None
    samples = np.random.default_rng(1).normal(0, 0.1, 16000).astype(np.float32)
    options = SearchOptions(beam_size=4, top_k=5)
    plain, second = model.offline.run(
        [OfflineItem(samples, options, rescoring=True, second_pass=asked) for asked in (False, True)]
    )
    assert len(second.nbest.tokens) > len(plain.nbest.tokens)


def test_the_report_tells_of_it(folder: Path) -> None:
    text = describe_text(inspect(folder))
    assert "second pass memory.onnx and second.onnx, units of second_units.txt, 4 hypotheses read, 4 of its own" in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "second.onnx").unlink(), "second.onnx: no such file"),
        (lambda folder: graphs.add_second_pass_of(folder, Mini(dim=6)), "memory.onnx does not run"),
        (lambda folder: (folder / "second_units.txt").write_text("a 0\nb 1\n"), "second.onnx scores 16 tokens, its"),
        (lambda folder: (folder / "memory.onnx").write_bytes((folder / "encoder.onnx").read_bytes()), "memory.onnx"),
    ],
)
def test_what_does_not_fit_is_told(folder: Path, change, told: str) -> None:  # type: ignore[no-untyped-def]
    change(folder)
    assert any(told in problem for problem in inspect(folder).problems)


def test_it_needs_a_decoder_beside_it(tmp_path: Path) -> None:
    folder = graphs.add_trees(graphs.gpu_model(tmp_path))
    (folder / "model.toml").write_text('[streaming]\nencoder = "encoder.onnx"\n', encoding="utf-8")
    problems = inspect(graphs.add_second_pass(folder)).problems
    assert any("[second_pass] stands beside an attention decoder" in problem for problem in problems)


def test_units_are_written_in_another_table(folder: Path) -> None:
    assert TokenTable(SECOND_PIECES).sos_id == SOS
    assert TokenTable(SECOND_PIECES).eos_id == EOS
