"""Speak the demo recordings with Kokoro voices: `KOKORO_DIR=... python -m recipes.synthesis.demo models/demo`."""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from recipes.synthesis.fbank import SAMPLE_RATE
from recipes.synthesis.kokoro_voice import KokoroVoice
from recipes.synthesis.texts import normalise
from recipes.synthesis.voices import finish

_GAP_S = 1.5
DEMO = {
    "harbour": ("bf_emma", ["The fishing boats came back to the harbour before dark."]),
    "garden": ("am_michael", ["She planted three rows of beans behind the garden wall."]),
    "two-sentences": ("af_heart", ["Please open the window.", "The evening air is cool and fresh."]),
}


def main() -> None:
    """Write FLAC files and demo.tsv (file, tab, transcript)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    voice, random, lines = KokoroVoice(), np.random.default_rng(7), []
    for name, (speaker, sentences) in DEMO.items():
        parts = [finish(voice.say(sentence, speaker), random) for sentence in sentences]
        gap = np.zeros(int(_GAP_S * SAMPLE_RATE), np.float32)
        joined = np.concatenate([piece for part in parts for piece in (part, gap)][:-1])
        soundfile.write(output / f"{name}.flac", joined, SAMPLE_RATE, subtype="PCM_16")
        lines.append(f"{name}.flac\t{' '.join(normalise(sentence) for sentence in sentences)}\n")
    (output / "demo.tsv").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
