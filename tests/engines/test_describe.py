"""Inspection: what a folder holds, and plain words for everything that can be wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from engines.describe import inspect
from engines.errors import BadModel
from engines.report import describe_json, describe_text
from engines.sidefiles import read_tokens
from tests.engines import graphs
from tests.engines.graphs import Mini

EIGHT = Mini(subsampling=8, context=15, chunk=8)


def edit(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))


def only_problem(folder: Path) -> str:
    problems = inspect(folder).problems
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize("mini", [Mini(), EIGHT, Mini(subsampling=6, context=11), Mini(subsampling=2, context=5)])
def test_streaming_gpu_export_is_described_from_its_graph(tmp_path: Path, mini: Mini) -> None:
    graphs.gpu_model(tmp_path, mini)
    (tmp_path / "config.yaml").unlink()
    description = inspect(tmp_path)
    assert description.problems == ()
    spec = description.streaming
    assert spec is not None
    assert (spec.family, spec.subsampling, spec.context, spec.chunk) == (
        "W2",
        mini.subsampling,
        mini.context,
        mini.chunk,
    )
    assert (spec.left_chunks, spec.window_frames, spec.candidates) == (mini.left, mini.window, mini.beam)
    assert spec.is_batchable
    assert spec.framing(description.fbank).chunk == mini.chunk
    assert description.rescoring is not None
    assert description.rescoring.is_bidirectional
    assert (description.rescoring.ctc_weight, description.rescoring.reverse_weight) == (0.5, 0.3)


def test_position_limit_is_found_by_running_the_graph(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, Mini(positions=50))
    spec = inspect(tmp_path).streaming
    assert spec is not None
    assert spec.position_limit_frames == 48  # whole chunks of 4 that fit 50 rows


def test_first_offset_counts_against_the_positions_of_a_cpu_export(tmp_path: Path) -> None:
    graphs.cpu_model(tmp_path, Mini(positions=50))
    spec = inspect(tmp_path).streaming
    assert spec is not None
    assert (spec.first_offset, spec.position_limit_frames) == (8, 40)


def test_stated_positions_are_believed(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "model.toml").write_text("[positions]\nlimit = 0\n")
    spec = inspect(tmp_path).streaming
    assert spec is not None
    assert spec.position_limit_frames is None


@pytest.mark.parametrize(("left", "frames"), [(2, 8), (-1, 0), (0, 0)])
def test_cpu_export_is_described_in_each_left_context_mode(tmp_path: Path, left: int, frames: int) -> None:
    graphs.cpu_model(tmp_path, Mini(left=left))
    description = inspect(tmp_path)
    assert description.problems == ()
    spec = description.streaming
    assert spec is not None
    assert (spec.family, spec.left_chunks, spec.first_offset, spec.is_batchable) == ("W3", left, frames, False)
    assert spec.states[0].shape == (1, 1, frames, 16)
    assert description.rescoring is not None
    assert description.rescoring.kind == "scores"


def test_cpu_export_without_chunks_is_an_offline_model(tmp_path: Path) -> None:
    graphs.cpu_model(tmp_path, Mini(chunk=-1, left=-1))
    description = inspect(tmp_path)
    assert description.problems == ()
    assert description.streaming is None
    assert description.offline is not None
    assert description.offline.family == "W3"


def test_sherpa_onnx_models_get_their_own_front_end(tmp_path: Path) -> None:
    graphs.units(tmp_path)
    graphs.w4_streaming(tmp_path / "model-streaming.onnx")
    graphs.w4_offline(tmp_path / "model.onnx")
    description = inspect(tmp_path)
    assert description.problems == ()
    assert description.streaming is not None
    assert description.offline is not None
    assert not description.fbank.snip_edges
    assert description.fbank.high_hz == -400
    assert description.rescoring is None


def test_one_folder_holds_both_halves_by_paths(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path / "online")
    graphs.gpu_model(tmp_path / "whole", streaming=False)
    (tmp_path / "model.toml").write_text(
        'name = "both"\nlanguage = "en-US"\n[streaming]\nencoder = "online/encoder.onnx"\n'
        '[offline]\nencoder = "whole/encoder.onnx"\n[decoder]\npath = "whole/decoder.onnx"\nctc_weight = 0.25\n'
        "beam_size = 20\n"
    )
    description = inspect(tmp_path)
    assert description.problems == ()
    assert (description.name, description.language) == ("both", "en-US")
    assert description.streaming is not None
    assert description.offline is not None
    assert description.rescoring is not None
    assert description.rescoring.ctc_weight == 0.25
    assert description.rescoring.beam_size == 20


def test_full_precision_is_preferred_to_its_reduced_twin(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    graphs.w2(tmp_path / "a_fp16.onnx", half=True)
    description = inspect(tmp_path)
    assert description.streaming is not None
    assert description.streaming.encoder.name == "encoder.onnx"
    assert any("a_fp16.onnx" in note for note in description.notes)


def test_half_precision_states_are_recognised(tmp_path: Path) -> None:
    graphs.units(tmp_path)
    graphs.w2(tmp_path / "encoder_fp16.onnx", half=True)
    description = inspect(tmp_path)
    assert description.problems == ()
    assert description.streaming is not None
    assert description.streaming.float_type == "float16"


def test_names_of_files_mean_nothing(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "encoder.onnx").rename(tmp_path / "zzz.onnx")
    (tmp_path / "decoder.onnx").rename(tmp_path / "encoder.onnx")
    description = inspect(tmp_path)
    assert description.problems == ()
    assert description.streaming is not None
    assert description.streaming.encoder.name == "zzz.onnx"


@pytest.mark.parametrize("missing", ["folder", "graphs"])
def test_nothing_to_describe_is_an_error(tmp_path: Path, missing: str) -> None:
    with pytest.raises(BadModel, match="no such folder" if missing == "folder" else "no ONNX file"):
        inspect(tmp_path / "x" if missing == "folder" else tmp_path)


def test_damaged_graph_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    whole = (tmp_path / "encoder.onnx").read_bytes()
    (tmp_path / "encoder.onnx").write_bytes(whole[: len(whole) // 2])
    assert any("encoder.onnx: not an ONNX graph" in problem for problem in inspect(tmp_path).problems)


def test_empty_graph_file_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"")
    assert inspect(tmp_path).problems


def test_lost_external_weights_are_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    model = onnx.load(str(tmp_path / "encoder.onnx"))
    onnx.save(model, str(tmp_path / "encoder.onnx"), save_as_external_data=True, location="weights", size_threshold=0)
    (tmp_path / "weights").unlink()
    assert any("encoder.onnx" in problem for problem in inspect(tmp_path).problems)


def test_missing_tokens_are_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "units.txt").unlink()
    assert "no token file" in only_problem(tmp_path)


def test_malformed_tokens_are_a_problem_with_their_line(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    lines = (tmp_path / "units.txt").read_text().splitlines()
    (tmp_path / "units.txt").write_text("\n".join([*lines[:3], "no id here", *lines[3:]]))
    assert "4" in only_problem(tmp_path)


@pytest.mark.parametrize("piece", ["\u2028", "\x85", "\x1e"])
def test_a_piece_that_is_a_line_break_to_python_alone_is_a_piece(tmp_path: Path, piece: str) -> None:
    graphs.gpu_model(tmp_path)
    lines = (tmp_path / "units.txt").read_text(encoding="utf-8").split("\n")
    lines[5] = f"{piece} 5"
    (tmp_path / "units.txt").write_text("\n".join(lines), encoding="utf-8")
    assert inspect(tmp_path).problems == ()
    assert read_tokens(tmp_path / "units.txt").pieces[5] == piece


def test_vocabulary_of_another_model_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    graphs.units(tmp_path, Mini(vocab=13))
    problems = inspect(tmp_path).problems
    assert any("scores 12 tokens, the token file has 13" in problem for problem in problems)
    assert any("decoder.onnx knows fewer tokens" in problem for problem in problems)


def test_decoder_shows_a_wrong_vocabulary_where_the_encoder_cannot(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "train.yaml").unlink()
    graphs.units(tmp_path, Mini(vocab=11))
    assert "decoder.onnx knows more tokens than the 11" in only_problem(tmp_path)


def test_config_of_another_export_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, EIGHT)
    graphs.gpu_model(tmp_path / "other", Mini())
    shutil.copy(tmp_path / "other" / "config.yaml", tmp_path / "config.yaml")
    assert "subsampling 4 and context 7" in only_problem(tmp_path)
    assert "behaves like subsampling 8 and context 15" in only_problem(tmp_path)


def test_config_that_is_no_yaml_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [1,\nb: 2")
    assert any("not YAML" in problem for problem in inspect(tmp_path).problems)


def test_wrong_element_type_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)

    def change(model: onnx.ModelProto) -> None:
        cast = onnx.helper.make_node("Cast", ["chunk_lens_f"], ["chunk_lens"], to=TensorProto.INT32)
        next(i for i in model.graph.input if i.name == "chunk_lens").name = "chunk_lens_f"
        model.graph.node.insert(0, cast)
        info = next(i for i in model.graph.input if i.name == "chunk_lens_f")
        info.type.tensor_type.elem_type = TensorProto.FLOAT
        # The graph's own value keeps its name inside; outside it is the float input that is called chunk_lens.
        for node in model.graph.node:
            node.input[:] = ["lens" if name == "chunk_lens" else name for name in node.input]
            node.output[:] = ["lens" if name == "chunk_lens" else name for name in node.output]
        model.graph.node[0].input[0] = "chunk_lens"
        info.name = "chunk_lens"

    edit(tmp_path / "encoder.onnx", change)
    assert "input chunk_lens holds float32, expected int32 or int64" in only_problem(tmp_path)


def test_lost_state_output_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)

    def change(model: onnx.ModelProto) -> None:
        kept = [output for output in model.graph.output if output.name != "r_cache_mask"]
        del model.graph.output[:]
        model.graph.output.extend(kept)

    edit(tmp_path / "encoder.onnx", change)
    assert "lacks the output r_cache_mask" in only_problem(tmp_path)


def test_fixed_batch_is_a_problem_and_a_batch_of_one_a_note(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    graphs.w2(tmp_path / "encoder.onnx", batch=4)
    assert "batch axis fixed at 4" in only_problem(tmp_path)
    graphs.w2(tmp_path / "encoder.onnx", batch=1)
    description = inspect(tmp_path)
    assert description.problems == ()
    assert description.streaming is not None
    assert not description.streaming.is_batchable


def test_missing_decoder_is_a_note(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "decoder.onnx").unlink()
    description = inspect(tmp_path)
    assert description.problems == ()
    assert any("no attention decoder" in note for note in description.notes)


def test_decoder_of_another_width_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    graphs.best_index_decoder(tmp_path / "decoder.onnx", Mini(dim=10))
    assert "decoder.onnx takes 10 values per encoder frame, the encoder makes 8" in only_problem(tmp_path)


def test_missing_ctc_head_is_a_problem(tmp_path: Path) -> None:
    graphs.cpu_model(tmp_path)
    (tmp_path / "ctc.onnx").unlink()
    assert "whose ctc.onnx is missing" in only_problem(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"chunk_size": 5}, "cache of 8"),
        ({"head": 2}, "head 2 (graph: 1)"),
        ({"subsampling_factor": 8}, "which its metadata mean by"),
        ({"chunk_size": "many"}, "lack chunk_size"),
    ],
)
def test_metadata_that_contradict_the_graph_are_a_problem(
    tmp_path: Path, metadata: dict[str, object], text: str
) -> None:
    graphs.units(tmp_path)
    path = graphs.w4_streaming(tmp_path / "model.onnx")

    def change(model: onnx.ModelProto) -> None:
        current = {entry.key: entry.value for entry in model.metadata_props}
        onnx.helper.set_model_props(model, {**current, **{key: str(value) for key, value in metadata.items()}})

    edit(path, change)
    assert text in only_problem(tmp_path)


def test_manifest_that_names_the_wrong_graph_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "model.toml").write_text('[streaming]\nencoder = "decoder.onnx"\n')
    assert any("is decoder.onnx, a best-index decoder" in problem for problem in inspect(tmp_path).problems)


def test_manifest_that_names_no_file_is_a_problem(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "model.toml").write_text('[streaming]\nencoder = "gone.onnx"\n')
    assert any("gone.onnx: no such file" in problem for problem in inspect(tmp_path).problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 1", "nmae"),
        ('[decoder]\npath = "decoder.onnx"\nbeam_size = 129', r"<= 128.*\$.decoder.beam_size"),
        ("[streaming]\nencoder = 3", r"\$.streaming.encoder"),
        ("= 1", "model.toml"),
    ],
)
def test_wrong_manifest_is_an_error_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(BadModel, match=message):
        inspect(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('profile = "kaldi"', "known profiles are"),
        ("num_bins = 40", "takes 80 mel bins"),
        ('window = "flat"', "window"),
    ],
)
def test_wrong_front_end_is_a_problem(tmp_path: Path, text: str, message: str) -> None:
    graphs.gpu_model(tmp_path)
    (tmp_path / "model.toml").write_text(f"[features]\n{text}\n")
    assert message in only_problem(tmp_path)


def test_training_settings_give_the_front_end_of_an_unusual_model(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path, Mini(bins=40))
    description = inspect(tmp_path)
    assert description.problems == ()
    assert description.fbank.num_bins == 40


def test_unknown_graph_beside_a_model_is_a_note(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    builder = graphs.Builder()
    builder.rename("a", "b")
    graphs.save(tmp_path / "vad.onnx", builder, {"a": (graphs.FLOAT, [1])}, {"b": (graphs.FLOAT, [1])})
    description = inspect(tmp_path)
    assert description.problems == ()
    assert any("vad.onnx belongs to no known family" in note for note in description.notes)


def test_problems_are_raised_together_when_the_model_is_used(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    graphs.units(tmp_path, Mini(vocab=13))
    with pytest.raises(BadModel, match=r"scores 12 tokens.*knows fewer tokens"):
        inspect(tmp_path).require_usable()


def test_report_says_what_works_and_what_does_not(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    good = describe_text(inspect(tmp_path))
    assert "chunks of 4 encoder frames = 160 ms" in good
    assert "ready to serve" in good
    (tmp_path / "units.txt").unlink()
    bad = describe_text(inspect(tmp_path))
    assert "cannot be served: 1 problem" in bad
    assert "no token file" in bad


def test_description_is_json_for_programs(tmp_path: Path) -> None:
    graphs.gpu_model(tmp_path)
    described = json.loads(describe_json(inspect(tmp_path)))
    assert described["streaming"]["encoder"] == str(tmp_path / "encoder.onnx")
    assert described["problems"] == []
