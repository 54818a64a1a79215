"""Folders of icefall models as people have them: renamed, reduced, damaged. Built from the exported ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from engines.describe import inspect
from engines.errors import BadModel
from engines.recordings import OfflineItem
from engines.report import describe_text
from speech.features import PROFILES
from speech.search.transducer import TransducerOptions
from tests.engines.helpers import noise, open_model, same_nbest, stream

MODELS = Path(__file__).parents[1] / "data" / "models"
BEAM = TransducerOptions()


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(MODELS / name, folder / name))


def graph_of(folder: Path, kind: str) -> Path:
    return next(folder.glob(f"{kind}*.onnx"))


def edit(path: Path, change) -> None:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def set_metadata(**values: str):
    def change(model):
        known = {entry.key: entry.value for entry in model.metadata_props} | values
        helper.set_model_props(model, known)

    return change


def rename(model) -> None:
    """Give every input and output another name, as other exporters do."""
    names = {value.name: f"t{index}" for index, value in enumerate([*model.graph.input, *model.graph.output])}
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names[value.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def take_int32(model) -> None:
    """Let int64 inputs and outputs be int32, as `--use-int32-inputs` does."""
    graph = model.graph
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            value.type.tensor_type.elem_type = TensorProto.INT32
            for node in graph.node:
                node.input[:] = [f"{value.name}_64" if name == value.name else name for name in node.input]
            graph.node.insert(0, helper.make_node("Cast", [value.name], [f"{value.name}_64"], to=TensorProto.INT64))
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            value.type.tensor_type.elem_type = TensorProto.INT32
            for node in graph.node:
                node.output[:] = [f"{value.name}_64" if name == value.name else name for name in node.output]
                node.input[:] = [f"{value.name}_64" if name == value.name else name for name in node.input]
            graph.node.append(helper.make_node("Cast", [f"{value.name}_64"], [value.name], to=TensorProto.INT32))


def take_no_lengths(model) -> None:
    """Let the encoder find out by itself how long its input is, and not say how long its output is."""
    graph = model.graph
    inputs, outputs = list(graph.input)[:1], list(graph.output)[:1]
    lengths = graph.input[1].name
    graph.initializer.append(helper.make_tensor("axis_1", TensorProto.INT64, [1], [1]))
    graph.node.insert(0, helper.make_node("Gather", ["shape_of_x", "axis_1"], [lengths]))
    graph.node.insert(0, helper.make_node("Shape", [inputs[0].name], ["shape_of_x"]))
    for values, kept in ((graph.input, inputs), (graph.output, outputs)):
        del values[:]
        values.extend(kept)


def fix_batch(model) -> None:
    for value in [*model.graph.input, *model.graph.output]:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in ("N", "B"):
                axis.dim_value = 3


def spoken(folder: Path):
    return stream(open_model(folder).streaming, noise(2.0, 4), options=BEAM)[0]


@pytest.mark.parametrize("change", [rename, take_int32], ids=["renamed", "int32"])
@pytest.mark.parametrize("name", ["k2", "k4", "k5", "t1", "t2"])
def test_renamed_tensors_and_int32_say_the_same(name, change, tmp_path):
    folder = copied(name, tmp_path)
    for path in folder.glob("*.onnx"):
        edit(path, change)
    assert inspect(folder).streaming.family == name.upper()
    same_nbest(spoken(folder), spoken(MODELS / name), 1e-4)


@pytest.mark.parametrize("name", ["k1", "k6"])
def test_renamed_offline_encoder_without_metadata_is_told_by_its_frames(name, tmp_path):
    folder = copied(name, tmp_path)
    edit(graph_of(folder, "encoder"), lambda model: (rename(model), model.ClearField("metadata_props")))
    assert inspect(folder).offline.family == name.upper()


@pytest.mark.parametrize("name", ["k1", "k6"])
def test_offline_encoder_without_lengths_takes_one_recording_at_a_time(name, tmp_path):
    """As icefall exports it with keep_x_lens=0."""
    folder = copied(name, tmp_path)
    edit(graph_of(folder, "encoder"), take_no_lengths)
    offline = open_model(folder).offline
    assert (inspect(folder).offline.is_batchable, offline.batch_limit) == (False, 1)
    items = [OfflineItem(noise(1.0 + seed, seed), BEAM) for seed in range(2)]
    for output, wanted in zip(offline.run(items), open_model(MODELS / name).offline.run(items), strict=True):
        same_nbest(output.nbest, wanted.nbest, 1e-3)


def test_offline_zipformer_of_the_first_generation_is_served(tmp_path):
    """Its exporter (pruned_transducer_stateless7) says zipformer; tensors and frames are zipformer2's."""
    folder = copied("k1", tmp_path)
    edit(graph_of(folder, "encoder"), set_metadata(model_type="zipformer", comment="stateless7"))
    description = inspect(folder)
    assert description.problems == ()
    assert description.offline.family == "K1"
    assert description.fbank == PROFILES["icefall"]


def test_int8_models_stream_and_full_precision_is_preferred_beside_them(tmp_path):
    folder = copied("k2", tmp_path)
    for path in list(folder.glob("*.onnx")):
        small = path.with_suffix(".int8.onnx")
        kinds = ["MatMul", "Gather"] if path.name.startswith("decoder") else ["MatMul"]
        quantize_dynamic(path, small, op_types_to_quantize=kinds, weight_type=QuantType.QInt8)
    both = inspect(folder)
    assert "int8" not in both.streaming.encoder.name
    assert any("int8" in note for note in both.notes)
    for path in folder.glob("*.onnx"):
        if "int8" not in path.name:
            path.unlink()
    description = inspect(folder)
    assert description.problems == ()
    assert description.transducer.is_quantised
    assert spoken(folder).frames == spoken(MODELS / "k2").frames


def test_pieces_come_from_a_sentence_piece_model_where_there_is_no_list(tmp_path):
    import sentencepiece

    folder = copied("k2", tmp_path)
    (folder / "tokens.txt").unlink()
    words = tmp_path / "words.txt"
    words.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(words), model_prefix=str(folder / "bpe"), vocab_size=30, minloglevel=2, unk_id=2, bos_id=-1, eos_id=1,
        pad_id=-1, user_defined_symbols=["<blk>"], hard_vocab_limit=False, unk_piece="<unk>", eos_piece="<sos/eos>",
        control_symbols=[],
    )  # fmt: skip
    description = inspect(folder)
    assert description.tokens_path == folder / "bpe.model"
    assert description.num_tokens == 30


def test_disambiguation_symbols_behind_the_vocabulary_are_no_contradiction(tmp_path):
    folder = copied("k2", tmp_path)
    with (folder / "tokens.txt").open("a") as stream_:
        stream_.write("#0 30\n#1 31\n")
    assert inspect(folder).problems == ()


def remove(kind):
    return lambda folder: graph_of(folder, kind).unlink()


def edited(kind, change):
    return lambda folder: edit(graph_of(folder, kind), change)


def with_a_token_more(folder):
    with (folder / "tokens.txt").open("a") as stream_:
        stream_.write("MORE 30\n")


def with_a_joiner_of_another(folder):
    shutil.copy(graph_of(MODELS / "t2", "joiner"), graph_of(folder, "joiner"))


def cut_short(folder):
    path = graph_of(folder, "encoder")
    path.write_bytes(path.read_bytes()[:1000])


def cloned_without_large_files(folder):
    graph_of(folder, "encoder").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 266\n")


@pytest.mark.parametrize(
    ("name", "spoil", "complaint"),
    [
        ("k2", remove("joiner"), "whose joiner is missing: put joiner.onnx beside it"),
        ("k2", remove("decoder"), "whose decoder is missing"),
        ("k5", with_a_token_more, "scores 30 tokens, the token file has 31: it belongs to another model"),
        ("k2", edited("encoder", set_metadata(left_context_len="64,32")), r"key_0 \[32, 8\] \(metadata: \[64, 8\]"),
        ("k4", edited("encoder", set_metadata(encoder_dims="12,13")), r"cached_avg_1 \[2, 12\] \(metadata: \[2, 13\]"),
        ("k5", edited("encoder", set_metadata(encoder_dim="17")), r"attn \[2, 64, 16\] \(metadata: \[2, 64, 17\]"),
        ("k2", edited("encoder", set_metadata(num_heads="2;2")), "its metadata are damaged"),
        ("k2", edited("encoder", set_metadata(T="77")), "takes 45 frames a step, its metadata say T = 77"),
        ("k2", edited("encoder", set_metadata(decode_chunk_len="36")), "that moves on by 36"),
        ("k2", edited("encoder", set_metadata(decode_chunk_len="-32")), "that moves on by -32"),
        ("k2", edited("encoder", set_metadata(decode_chunk_len="0")), "that moves on by 0"),
        ("k2", edited("decoder", set_metadata(context_size="3")), "takes 2 tokens, its metadata say context_size 3"),
        ("k2", edited("decoder", set_metadata(vocab_size="500")), "scores 30 tokens, .* knows 500"),
        ("k5", edited("encoder", fix_batch), "batch axis fixed at 3; export it with a dynamic batch axis"),
        ("k5", edited("joiner", fix_batch), "takes a fixed batch"),
        ("k5", edited("decoder", fix_batch), "takes a fixed batch"),
        ("k4", with_a_joiner_of_another, "takes 12 values as encoder_out, encoder.onnx makes 16"),
        ("k2", edited("encoder", set_metadata(model_type="lstm")), "of a kind that this server does not know"),
        ("k2", cloned_without_large_files, "a pointer of Git LFS, not the file itself; run `git lfs pull`"),
        ("k2", cut_short, "not an ONNX graph that can be run"),
        ("k1", edited("encoder", set_metadata(model_type="conformer")), "its encoder frames are those of a zipformer2"),
    ],
)  # fmt: skip
def test_folder_that_does_not_fit_together_is_refused_with_one_message(name, spoil, complaint, tmp_path):
    folder = copied(name, tmp_path)
    spoil(folder)
    description = inspect(folder)
    assert len(description.problems) == 1, description.problems
    with pytest.raises(BadModel, match=complaint):
        description.require_usable()


@pytest.mark.parametrize(("name", "key"), [("k2", "feature"), ("k1", "feature"), ("k3-streaming", "feature_type")])
def test_metadata_choose_whisper_s_features(name, key, tmp_path):
    folder = copied(name, tmp_path)
    edited("ctc" if name.startswith("k3") else "encoder", set_metadata(**{key: "whisper"}))(folder)
    description = inspect(folder)
    assert description.problems == ()
    assert description.fbank == PROFILES["whisper"]


def test_manifest_names_files_and_switches_to_old_ways(tmp_path):
    folder = copied("t1", tmp_path)
    (folder / "model.toml").write_text(
        '[streaming]\nencoder = "encoder.onnx"\nchunk = 8\n'
        '[transducer]\ndecoder = "decoder.onnx"\njoiner = "joiner.onnx"\nstart_context = [0, 1]\n'
        '[compatibility]\ntail_ms = 0\nreadiness = "strict"\nend = "drop"\n[features]\npad_value = 0.0\n'
    )
    description = inspect(folder)
    assert description.problems == ()
    spec = description.streaming
    assert (spec.chunk, spec.window_frames, spec.tail_frames, spec.is_strict, spec.drops_tail) == (8, 43, 0, True, True)
    assert description.transducer.start_context == (0, 1)
    assert description.fbank.pad_value == 0.0
    assert spoken(folder).frames % 8 == 0, "nothing but whole windows"


def test_sherpa_s_triton_recipes_decode_padding_and_frames_twice(tmp_path):
    """Its T1 servers search every row of the last window; its T2 recipe reads 83 frames, which give 19 for 16."""
    said = {}
    for name, ways in (("t1", ""), ("t2", "[compatibility]\nwindow = 83\ntail_ms = 0\n")):
        folder = copied(name, tmp_path)
        (folder / "model.toml").write_text('partial_frames = "all"\n' + ways)
        assert inspect(folder).problems == ()
        said[name] = spoken(folder).frames
    assert said["t1"] % 16 == 0
    assert said["t1"] > spoken(MODELS / "t1").frames
    assert said["t2"] == 19 * 4, "2 s are 200 feature frames: four windows, 64 frames apart"


def test_start_context_of_another_length_is_refused(tmp_path):
    folder = copied("k5", tmp_path)
    (folder / "model.toml").write_text(
        '[streaming]\nencoder = "encoder.onnx"\n'
        '[transducer]\ndecoder = "decoder.onnx"\njoiner = "joiner.onnx"\nstart_context = [0]\n'
    )
    with pytest.raises(BadModel, match=r"start_context \[0\] has not 2 tokens"):
        inspect(folder).require_usable()


def test_old_count_of_the_past_changes_what_a_conformer_sees(tmp_path):
    """sherpa-onnx counts feature frames where icefall counts encoder frames, and unmasks an empty past too early."""
    folder = copied("k5", tmp_path)
    (folder / "model.toml").write_text('[compatibility]\nprocessed_lens = "features"\n')
    assert inspect(folder).streaming.counts_features
    new, old = spoken(MODELS / "k5"), spoken(folder)
    assert new.frames == old.frames
    assert not np.allclose(new.scores[0], old.scores[0])


def test_check_explains_a_transducer():
    text = describe_text(inspect(MODELS / "k2"))
    assert "icefall zipformer2 transducer, streaming" in text
    assert "context of 2, which begins as [none, 0]" in text
    assert text.endswith("ready to serve")
