"""A person to measure with: Debian's English telephone prompts and what they say: `python -m recipes.prompts --help`.

Kept for measuring, never trained on. `asterisk-core-sounds-en` has the transcripts, `asterisk-core-sounds-en-wav` the
recordings, of one speaker at 8 kHz; `dpkg-deb -x` unpacks both into one folder.
"""

import argparse
import gzip
from pathlib import Path

from recipes.synthesis.texts import normalise

SOUNDS = Path("usr/share/asterisk/sounds/en_US_f_Allison")
TRANSCRIPTS = Path("usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")


def prompts(folder: Path, shortest: int = 3, longest: int = 18) -> list[tuple[str, str]]:
    """(path without .wav below `folder`, transcript) of what is spoken as it is spelled, by number of words."""
    with gzip.open(folder / TRANSCRIPTS, "rt", encoding="utf-8") as lines:
        named = [line.split(":", 1) for line in lines if ":" in line and not line.startswith(";")]
    found = []
    for name, text in named:
        path, transcript = SOUNDS / f"{name}.wav", normalise(text.strip())
        if transcript and shortest <= len(transcript.split()) <= longest and (folder / path).is_file():
            found.append((str(path.with_suffix("")), transcript))
    return found


def main() -> None:
    """Write them as a TSV for `--tsv` of recipes.u2pp.evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with usr/ of both packages")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    found = prompts(arguments.folder)
    arguments.output.write_text("".join(f"{stem}\t{text}\n" for stem, text in found), encoding="utf-8")
    print(f"{len(found)} prompts, {sum(len(text.split()) for _, text in found)} words")


if __name__ == "__main__":
    main()
