"""The second pass: which pieces are kept, that graphs say what the network says, and a few steps of training."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch", reason="torch is installed for recipes only")
pytest.importorskip("sentencepiece")

from engines.ort import OrtModel, OrtOptions  # noqa: E402
from recipes.second_pass import train  # noqa: E402
from recipes.second_pass.decoder import EOS_ID, SOS_ID, SecondDecoder  # noqa: E402
from recipes.second_pass.export import export_second, load_second  # noqa: E402
from recipes.second_pass.pieces import SPECIALS, choose  # noqa: E402
from recipes.second_pass.quantise import quantise as quantise_products  # noqa: E402
from recipes.u2pp.checkpoint import load_model  # noqa: E402
from recipes.u2pp.quantise import quantise  # noqa: E402
from speech.biasing.spelling import Speller  # noqa: E402
from speech.tokens import SPACE_MARK, TokenTable  # noqa: E402
from tests.recipes.test_joint import beginnings  # noqa: E402, F401
from tests.recipes.test_training import material, run  # noqa: E402, F401

MERGES = (f"{SPACE_MARK}t", "he", f"{SPACE_MARK}the", "at", f"{SPACE_MARK}c", f"{SPACE_MARK}cat", "in", "ing")
LETTERS = (SPACE_MARK, *"abcdefghijklmnopqrstuvwxyz'")


@pytest.fixture
def tokenizer(tmp_path):
    vocabulary = {piece: rank for rank, piece in enumerate(["<unk>", "<s>", "</s>", "<0x00>", *MERGES, "Zz", *LETTERS])}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": vocabulary}}))
    return path


def test_kept_pieces_spell_the_words_as_all_pieces_do(tokenizer):
    pieces, kept = choose(tokenizer, ["THE", "CATHING"])
    assert pieces[:3] == list(SPECIALS)
    assert kept == sorted(kept)
    assert f"{SPACE_MARK}THE" in pieces
    assert "IN" in pieces  # on the way to ING
    assert "ZZ" not in pieces
    speller = Speller(TokenTable(pieces))
    assert [pieces[index] for index in speller.spell("the cathing", "bpe")] == [
        f"{SPACE_MARK}THE", f"{SPACE_MARK}CAT", "H", "ING",
    ]  # fmt: skip
    assert all(speller.spell(letter, "bpe") for letter in "abcxyz'")


def decoder(vocabulary=20, dim=32):
    torch.manual_seed(4)
    return SecondDecoder(vocabulary, dim, feed_forward=24, layers=2).eval()


def test_the_graphs_read_a_tree_in_any_number_of_steps(tmp_path):
    second, ctc = decoder(), torch.nn.Linear(32, 7)
    export_second(second, ctc, [f"p{index}" for index in range(20)], tmp_path)
    memory_graph, nodes = (OrtModel(tmp_path / name, OrtOptions()) for name in ("memory.onnx", "decoder.onnx"))
    frames = torch.randn(15, 32)
    made = memory_graph.run({"encoder_out": frames.numpy()})
    with torch.no_grad():
        assert made["ctc_log_probs"] == pytest.approx(ctc(frames).log_softmax(-1).numpy(), abs=1e-4)
        texts = [[SOS_ID, 3, 4, 5], [SOS_ID, 3, 9, 2]]
        memory, valid = second.reading(frames)[None].expand(2, -1, -1), torch.ones(2, 15, dtype=torch.bool)
        expected = second(torch.tensor(texts), memory, valid).log_softmax(-1).numpy()
    fixed = {"memory_keys": made["keys"], "memory_values": made["values"]}
    empty = made["keys"][:, :, :0]
    # sos and 3 at once, then 4 and 9 after it, then what follows each.
    first = {"tokens": np.array([SOS_ID, 3]), "depths": np.arange(2), "seen": np.tri(2, dtype=np.float32)}
    one = nodes.run({**fixed, **first, "past_keys": empty, "past_values": empty})
    assert one["log_probs"] == pytest.approx(expected[0, :2], abs=1e-4)
    seen = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], np.float32)
    second_step = {"tokens": np.array([4, 9]), "depths": np.array([2, 2]), "seen": seen}
    two = nodes.run({**fixed, **second_step, "past_keys": one["keys"], "past_values": one["values"]})
    assert two["log_probs"] == pytest.approx(expected[:, 2], abs=1e-4)


def test_products_in_8_bits_say_nearly_the_same_and_no_row_depends_on_another(tmp_path):
    second = SecondDecoder(400, 64, feed_forward=96, layers=2).eval()
    export_second(second, torch.nn.Linear(64, 7), ["p"] * 400, tmp_path)
    quantise_products(tmp_path / "decoder.onnx", tmp_path / "small.onnx")
    memory, exact, small = (OrtModel(tmp_path / f"{n}.onnx", OrtOptions()) for n in ("memory", "decoder", "small"))
    made = memory.run({"encoder_out": np.random.default_rng(5).standard_normal((15, 64)).astype(np.float32)})
    fixed = {"memory_keys": made["keys"], "memory_values": made["values"]}
    fixed |= {"past_keys": made["keys"][:, :, :0], "past_values": made["values"][:, :, :0]}

    def read(model, count):
        tokens = np.array([SOS_ID, 3, 9, 11])[:count]
        return model.run(
            {**fixed, "tokens": tokens, "depths": np.arange(count), "seen": np.tri(count, dtype=np.float32)}
        )

    expected, found, alone = read(exact, 4), read(small, 4), read(small, 2)
    for name, value in expected.items():
        assert 0 < np.abs(found[name] - value).max() < 0.05 * np.abs(value).max(), name
    np.testing.assert_allclose(alone["log_probs"], found["log_probs"][:2], atol=1e-5)
    assert sum(node.op_type == "MatMulNBits" for node in onnx.load(tmp_path / "small.onnx").graph.node) == 2 * 6 + 1


def test_the_embedding_is_in_the_file_once(tmp_path):
    export_second(decoder(vocabulary=400), torch.nn.Linear(32, 7), ["p"] * 400, tmp_path)
    quantise(tmp_path / "decoder.onnx", tmp_path / "small.onnx")
    quantise_products(tmp_path / "decoder.onnx", tmp_path / "smaller.onnx")
    kinds = {"decoder.onnx": onnx.TensorProto.FLOAT, "small.onnx": onnx.TensorProto.INT8}
    for name, kind in (kinds | {"smaller.onnx": onnx.TensorProto.UINT8}).items():
        tensors = onnx.load(tmp_path / name).graph.initializer
        large = [each.data_type for each in tensors if np.prod(each.dims) == 32 * 400]
        assert large == [kind]


def test_greedy_stops_at_the_end():
    second = decoder()
    with torch.no_grad():
        second.embedding.weight[EOS_ID] += 50 * torch.ones(32)
        second.norm.weight.abs_()
    found = second.greedy(torch.randn(3, 30, 32), torch.ones(3, 30, dtype=torch.bool))
    assert len(found) == 3
    assert all(EOS_ID not in row and len(row) <= 12 for row in found)


def arguments_of(material, beginnings, tokenizer, steps):  # noqa: F811
    texts = beginnings / "texts.txt"
    texts.write_text("The cat is hiding in the thing.\nA cat and the thing.\n" * 30)
    held_out = beginnings / "dev.tsv"
    held_out.write_text("x\ty\t1.0\tNOTHING OF IT\n")
    places = ["--data", material / "data", "--tokens", material / "bpe.model", "--output", beginnings / "second"]
    models = ["--u2pp", beginnings / "u2pp.pt", "--decoder", "none", "--tokenizer", tokenizer]
    words = ["--texts", texts, "--held-out", held_out, "--lessons", beginnings / "lessons"]
    budget = ["--steps", steps, "--batch-seconds", 8, "--alone-until", 0.5, "--lesson-every", 3]
    more = ["--threads", 1, "--device", "cpu", "--clean-steps", 0, "--rate", 0.01]
    return train.parser().parse_args(list(map(str, places + models + words + budget + more)))


@pytest.fixture
def theirs(monkeypatch):
    weights = {name: value.numpy() for name, value in decoder(vocabulary=60, dim=16).state_dict().items()}
    weights = {name: value for name, value in weights.items() if not name.startswith("reading")}
    monkeypatch.setattr(train, "decoder_weights", lambda path: weights)
    return weights


def test_it_learns_alone_first_and_then_with_the_encoder(material, beginnings, tokenizer, theirs):  # noqa: F811
    trainer = run(train.SecondPassTrainer, arguments_of(material, beginnings, tokenizer, 3))
    before = load_model(beginnings / "u2pp.pt").state_dict()
    arguments = arguments_of(material, beginnings, tokenizer, 8)
    trainer = run(train.SecondPassTrainer, arguments)
    after = trainer.model.state_dict()
    for part in ("encoder.layers", "ctc", "decoder"):
        names = [name for name in before if name.startswith(part)]
        assert any(not torch.equal(before[name], after[name]) for name in names), part
    second, pieces = load_second(beginnings / "second" / "second_pass.pt")
    assert len(pieces) == second.embedding.num_embeddings
    assert load_model(beginnings / "second" / "u2pp.pt").state_dict().keys() == before.keys()
    assert {name for row in trainer.state.log for name in row} >= {"second", "held_out_wer"}


def test_what_is_exported_lies_part_of_the_way_back(material, beginnings, tokenizer, theirs):  # noqa: F811
    trainer = run(train.SecondPassTrainer, arguments_of(material, beginnings, tokenizer, 6))
    exported = load_model(beginnings / "second" / "u2pp.pt").state_dict()
    began = load_model(beginnings / "u2pp.pt").state_dict()
    for name, value in exported.items():
        assert torch.allclose(value, 0.7 * trainer.average[name] + 0.3 * began[name], atol=1e-5), name
    second = load_second(beginnings / "second" / "second_pass.pt")[0].state_dict()
    alone = torch.load(beginnings / "second" / "alone.pt", weights_only=True)
    name = "layers.1.cross_key.weight"
    kept = 0.7 * trainer.average[f"second.{name}"] + 0.3 * alone[name]
    assert torch.allclose(second[name], 0.65 * kept + 0.35 * torch.from_numpy(theirs[name]), atol=1e-5)
    reading = 0.7 * trainer.average["second.reading.weight"] + 0.3 * alone["reading.weight"]
    assert torch.allclose(second["reading.weight"], reading, atol=1e-5)


def test_alone_nothing_of_the_first_pass_changes(material, beginnings, tokenizer, theirs):  # noqa: F811
    arguments = arguments_of(material, beginnings, tokenizer, 4)
    arguments.alone_until = 1.0
    trainer = run(train.SecondPassTrainer, arguments)
    before, after = load_model(beginnings / "u2pp.pt").state_dict(), trainer.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(torch.from_numpy(theirs["layers.0.query.weight"]), after["second.layers.0.query.weight"])


def test_another_run_goes_on_with_what_one_exported(material, beginnings, tokenizer, theirs):  # noqa: F811
    run(train.SecondPassTrainer, arguments_of(material, beginnings, tokenizer, 3))
    first = load_second(beginnings / "second" / "second_pass.pt")[0].state_dict()
    arguments = arguments_of(material, beginnings, tokenizer, 2)
    arguments.second = beginnings / "second" / "second_pass.pt"
    arguments.output, arguments.alone_until, arguments.rate = beginnings / "third", 0.0, 0.0
    trainer = run(train.SecondPassTrainer, arguments)
    begun = train._second_of(trainer.average)
    assert all(torch.allclose(begun[name], value, atol=1e-6) for name, value in first.items())
    arguments.output = beginnings / "fourth"
    arguments.tokenizer.write_text(json.dumps({"model": {"vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}}}))
    with pytest.raises(ValueError, match=r"second_pass\.pt has other units"):
        run(train.SecondPassTrainer, arguments)
