"""Turn a folder of audio files and its TSV into shards: `python -m recipes.synthesis.recordings --help`."""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from recipes.synthesis.fbank import log_mel
from recipes.synthesis.shards import Utterance, write_shard
from recipes.synthesis.voices import to_16k


def load_16k(path: Path) -> np.ndarray:
    """Mono 16 kHz float32 samples of any file libsndfile reads."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return to_16k(samples.mean(1), rate)


def read_rows(tsv: Path) -> list[tuple[str, str]]:
    """(file stem, transcript): the first and last column."""
    rows = [line.split("\t") for line in tsv.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(row[0], row[-1].strip()) for row in rows]


def main() -> None:
    """Write `<name>-train` and, from every n-th file, `heldout-<name>`, unless both are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--tsv", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--suffix", default=".ogg")
    parser.add_argument("--held-out-every", type=int, default=25)
    arguments = parser.parse_args()
    kept_as, held_out_as = (
        arguments.output / f"{name}.npz" for name in (f"{arguments.name}-train", f"heldout-{arguments.name}")
    )
    if kept_as.exists() and held_out_as.exists():
        return
    utterances = [
        Utterance(log_mel(load_16k(arguments.audio / (stem + arguments.suffix))).astype(np.float16), transcript)
        for stem, transcript in read_rows(arguments.tsv)
    ]
    every = arguments.held_out_every
    kept = [u for index, u in enumerate(utterances) if index % every]
    write_shard(kept_as, kept)
    write_shard(held_out_as, utterances[::every])


if __name__ == "__main__":
    main()
