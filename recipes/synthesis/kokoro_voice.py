"""Kokoro-82M (int8 graph) with random mixtures of two English voices as the speaker.

The folder named by KOKORO_DIR holds `kokoro_int8.onnx` (the four `part.bin` of the PyPI packages, concatenated),
`vocab.json` and `voices/*.bin` (npm kokoro-js). A float rewrite of the graph was slower
than int8 on Zen 3 (1.3 against 1.6 times real time on one core, 2026-11-21).
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
from hibari.g2p import G2P

from recipes.synthesis.voices import to_16k

_KOKORO_RATE = 24000
_ENGLISH = ("af_", "am_", "bf_", "bm_")
_MAX_TOKENS = 400


def _load_voices(folder: Path) -> dict[str, np.ndarray]:
    paths = sorted(path for path in folder.glob("*.bin") if path.name.startswith(_ENGLISH))
    return {path.stem: np.fromfile(path, np.float32).reshape(510, 256) for path in paths}


class KokoroVoice:
    """Speaks with one English Kokoro voice or a random blend of two. One ONNX Runtime thread."""

    def __init__(self) -> None:
        folder = Path(os.environ["KOKORO_DIR"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        model = str(folder / "kokoro_int8.onnx")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._voices = _load_voices(folder / "voices")
        self._phonemizers = [G2P(british=False), G2P(british=True)]

    def say(self, text: str, speaker: str) -> np.ndarray:
        """16 kHz speech of `text` by one named voice at its own pace."""
        tokens = self._tokens(text, british=speaker.startswith("b"))
        return to_16k(self._synthesise(tokens, self._voices[speaker][len(tokens)], 1.0), _KOKORO_RATE)

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of `text` by a random speaker; a quarter of the sentences get British pronunciations."""
        tokens = self._tokens(text, british=random.random() < 0.25)
        if not tokens:
            return np.zeros(0, np.float32)
        samples = self._synthesise(tokens, self._blend(len(tokens), random), random.uniform(0.85, 1.25))
        return to_16k(samples, _KOKORO_RATE, random.uniform(0.94, 1.08))

    def _tokens(self, text: str, british: bool) -> list[int]:
        phonemes = self._phonemizers[int(british)](text)
        return [self._vocabulary[p] for p in phonemes if p in self._vocabulary][:_MAX_TOKENS]

    def _blend(self, length: int, random: np.random.Generator) -> np.ndarray:
        first, second = random.choice(list(self._voices), 2, replace=False)
        share = np.float32(random.choice([1.0, random.uniform(0.5, 1.0)]))
        return share * self._voices[first][length] + (1 - share) * self._voices[second][length]

    def _synthesise(self, tokens: list[int], style: np.ndarray, speed: float) -> np.ndarray:
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[None],
            "speed": np.array([speed], np.float32),
        }
        return self._session.run(None, inputs)[0].ravel()
