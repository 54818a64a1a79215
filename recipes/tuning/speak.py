"""Speak `sentences.txt` with Kokoro blends drawn by a seed: `KOKORO_DIR=... python -m recipes.tuning.speak OUTPUT`.

Writes FLAC files, `wav.scp` and `text` (Kaldi's), and OUTPUT.tsv. The sentences were written for this and are CC0;
they are in no training text and not among those whose error rates are reported.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from recipes.synthesis.fbank import SAMPLE_RATE
from recipes.synthesis.kokoro_voice import KokoroVoice
from recipes.synthesis.texts import normalise
from recipes.synthesis.voices import finish

SENTENCES = Path(__file__).parent / "sentences.txt"


def main() -> None:
    """Write what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    voice, paths, texts = KokoroVoice(), {}, {}
    for number, sentence in enumerate(SENTENCES.read_text(encoding="utf-8").splitlines()):
        name = f"tuning-{number:02d}"
        paths[name], texts[name] = output / f"{name}.flac", normalise(sentence)
        if not paths[name].exists():
            random = np.random.default_rng([11, number])
            samples = finish(voice.speak(sentence, random), random)
            soundfile.write(paths[name], samples, SAMPLE_RATE, subtype="PCM_16")
    for file, values, gap in (
        (output / "wav.scp", paths, " "),
        (output / "text", texts, " "),
        (output.with_suffix(".tsv"), texts, "\t"),
    ):
        file.write_text("".join(f"{name}{gap}{value}\n" for name, value in values.items()), encoding="utf-8")


if __name__ == "__main__":
    main()
