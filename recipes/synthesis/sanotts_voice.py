"""sanoTTS voices (PyPI `sanotts`, MIT): small networks in numpy.

The package holds the code alone. Its voices lie on other hosts, from where it fetches them by name; SANOTTS_DIR names
a folder with one folder for each English voice that has been fetched (amy, kristin, hfc, heart, heart-nano).
"""

import os
from pathlib import Path

import numpy as np
from sanotts import Synthesizer

from recipes.synthesis.voices import to_16k


class SanottsVoice:
    """A random one of the voices in SANOTTS_DIR at a random pace and tape speed."""

    def __init__(self) -> None:
        folder = Path(os.environ["SANOTTS_DIR"])
        self._voices = [Synthesizer(voice_dir=path) for path in sorted(folder.iterdir()) if path.is_dir()]
        if not self._voices:
            raise FileNotFoundError(f"SANOTTS_DIR={folder} holds no folder of a voice")

    def speak(self, text: str, random: np.random.Generator) -> np.ndarray:
        """16 kHz speech of `text`."""
        voice = self._voices[random.integers(len(self._voices))]
        spoken = voice.synthesize(text, duration_length_scale=random.uniform(0.8, 1.2))
        return to_16k(spoken.audio, spoken.sample_rate, random.uniform(0.88, 1.14))
