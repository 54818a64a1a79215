"""Both models trained on with one encoder, for a few steps."""

from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is installed for recipes only")
pytest.importorskip("sentencepiece")

from recipes.synthesis.shards import write_arrays  # noqa: E402
from recipes.transducer import joint  # noqa: E402
from recipes.transducer.checkpoint import Transducer, load_transducer  # noqa: E402
from recipes.transducer.config import HeadConfig  # noqa: E402
from recipes.u2pp.checkpoint import load_model  # noqa: E402
from recipes.u2pp.config import ModelConfig  # noqa: E402
from recipes.u2pp.model import Model  # noqa: E402
from recipes.u2pp.tokens import Tokens  # noqa: E402
from tests.recipes.test_training import SIZES, material, run  # noqa: E402, F401

FRAMES, ENCODED = 100, 11


@pytest.fixture
def beginnings(material, tmp_path):  # noqa: F811
    """Folder of u2pp.pt and transducer.pt with random weights, and of lessons."""
    size = len(Tokens(material / "bpe.model"))
    config = ModelConfig(vocabulary_size=size, encoder="transformer", conditioned=(1,), **SIZES)
    head = HeadConfig(vocabulary_size=size, decoder_dim=8, joiner_dim=16)
    torch.manual_seed(3)
    for name, model in (("u2pp.pt", Model(config)), ("transducer.pt", Transducer(config, head))):
        saved = {"config": config.as_dict(), "head": asdict(head), "average": model.state_dict()}
        torch.save(saved, tmp_path / name)
    random = np.random.default_rng(1)
    parts = {"features": (FRAMES, 80), "stem": (ENCODED, 16), "output": (ENCODED, 16)}
    write_arrays(
        tmp_path / "lessons" / "mix.npz",
        lengths=np.array([FRAMES]),
        counts=np.array([ENCODED]),
        transcripts=np.array(["THE CAT"]),
        **{name: random.normal(0, 1, shape).astype(np.float16) for name, shape in parts.items()},
    )
    return tmp_path


def arguments_of(material, beginnings, steps, output="out"):  # noqa: F811
    places = ["--data", material / "data", "--tokens", material / "bpe.model", "--output", beginnings / output]
    models = ["--u2pp", beginnings / "u2pp.pt", "--transducer", beginnings / "transducer.pt"]
    budget = ["--lessons", beginnings / "lessons", "--lesson-every", 3, "--steps", steps, "--batch-seconds", 8]
    more = ["--threads", 1, "--device", "cpu", "--clean-steps", 0]
    return joint.parser().parse_args(list(map(str, places + models + budget + more)))


def test_it_begins_as_what_it_was_given(material, beginnings):  # noqa: F811
    trainer = run(joint.JointTrainer, arguments_of(material, beginnings, 1))
    trainer._begin()
    u2pp, transducer = joint.parted(trainer.model.state_dict())
    given = load_transducer(beginnings / "transducer.pt").state_dict()
    assert all(torch.equal(value, given[name]) for name, value in transducer.items())
    assert u2pp.keys() == load_model(beginnings / "u2pp.pt").state_dict().keys()


def test_both_models_learn_on_one_encoder_and_are_saved_apart(material, beginnings):  # noqa: F811
    trainer = run(joint.JointTrainer, arguments_of(material, beginnings, 4))
    before = joint.joined(load_model(beginnings / "u2pp.pt"), load_transducer(beginnings / "transducer.pt"))
    u2pp = load_model(beginnings / "out" / "u2pp.pt", "model").state_dict()
    transducer = load_transducer(beginnings / "out" / "transducer.pt", "model").state_dict()
    assert all(torch.equal(u2pp[name], transducer[name]) for name in u2pp if name.startswith(("encoder.", "ctc.")))
    for part in ("encoder.layers", "ctc", "decoder", "head"):
        names = [name for name in before if name.startswith(part)]
        assert any(not torch.equal(before[name], (u2pp | transducer)[name]) for name in names), part
    assert {name for row in trainer.state.log for name in row} >= {"ctc", "held_out_wer"}


def test_what_is_exported_lies_half_way_back_to_the_beginning(material, beginnings):  # noqa: F811
    trainer = run(joint.JointTrainer, arguments_of(material, beginnings, 3))
    before = joint.joined(load_model(beginnings / "u2pp.pt"), load_transducer(beginnings / "transducer.pt"))
    exported = load_transducer(beginnings / "out" / "transducer.pt").state_dict()
    exported |= load_model(beginnings / "out" / "u2pp.pt").state_dict()
    assert exported.keys() == before.keys()
    for name, value in exported.items():
        assert torch.allclose(value, (before[name] + trainer.average[name]) / 2, atol=1e-6), name


def test_it_resumes(material, beginnings):  # noqa: F811
    run(joint.JointTrainer, arguments_of(material, beginnings, 2))
    assert run(joint.JointTrainer, arguments_of(material, beginnings, 4)).state.step == 4


def test_equal_seeds_give_equal_weights(material, beginnings):  # noqa: F811
    runs = [run(joint.JointTrainer, arguments_of(material, beginnings, 4, name)) for name in ("first", "second")]
    first, second = (trainer.model.state_dict() for trainer in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
