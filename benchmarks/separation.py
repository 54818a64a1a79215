"""Does a speaker model tell voices apart? Cosines of all pairs of a list of utterances, and the equal error rate.

python -m benchmarks.separation LIST.tsv [--model FOLDER] [--seconds 2] [--profile wespeaker]

The list has lines `id<TAB>voice<TAB>...`, and `ogg`, `flac` or `wav` files lie in a folder of its name without the
suffix. `--seconds` takes that much from the middle of each. `--profile` feeds the model another front end on purpose.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import numpy as np

from engines.pull.store import ensure
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import SpeakerEngine, open_speaker
from speech.audio import Encoding
from speech.containers import decode
from speech.features import PROFILES
from speech.resample import Resampler


def read(path: Path, rate: int) -> np.ndarray:
    """One recording, its first channel, at `rate`."""
    with path.open("rb") as file:
        blocks = list(decode(file, Encoding.AUTO))
    resampler = Resampler(blocks[0].sample_rate, rate, len(blocks[0].samples))
    parts = [resampler.push(block.samples) for block in blocks]
    return np.concatenate([*parts, resampler.flush()], axis=1)[0]


def utterances(listing: Path) -> list[tuple[Path, str]]:
    """Audio files of a list, with their voices."""
    folder = listing.with_suffix("")
    found = []
    for line in listing.read_text(encoding="utf-8").splitlines():
        name, voice = line.split("\t")[:2]
        paths = [path for suffix in (".ogg", ".flac", ".wav") if (path := folder / f"{name}{suffix}").is_file()]
        found += [(path, voice) for path in paths[:1]]
    return found


def embeddings(engine: SpeakerEngine, paths: list[Path], seconds: float | None) -> np.ndarray:
    """(n, dimension), of unit length."""
    vectors = []
    for path in paths:
        samples = read(path, engine.sample_rate)
        if seconds is not None:
            wanted = int(seconds * engine.sample_rate)
            begin = max(0, (len(samples) - wanted) // 2)
            samples = samples[begin : begin + wanted]
        vectors.append(engine.embed([engine.features(samples)])[0])
    values = np.stack(vectors)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def equal_error(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """Equal error rate, and the cosine at which both errors are nearest to each other."""
    thresholds = np.sort(np.concatenate([same, different]))
    rejected = np.searchsorted(np.sort(same), thresholds) / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), thresholds) / len(different)
    best = int(np.abs(rejected - accepted).argmin())
    return float(rejected[best] + accepted[best]) / 2, float(thresholds[best])


@click.command()
@click.argument("listing", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="A folder with a speaker model (default: campplus).")
@click.option("--seconds", type=float, help="Take this much of each utterance (default: all).")
@click.option("--profile", type=click.Choice(sorted(PROFILES)), help="Another front end than the model's own.")
def main(listing: Path, model: Path | None, seconds: float | None, profile: str | None) -> None:
    description = inspect_speaker(model or ensure("campplus", print))
    if profile is not None:
        description = msgspec.structs.replace(description, fbank=PROFILES[profile])
    found = utterances(listing)
    vectors = embeddings(open_speaker(description), [path for path, _ in found], seconds)
    voices = np.array([voice for _, voice in found])
    one, other = np.triu_indices(len(found), 1)
    cosines, is_same = np.einsum("nd,nd->n", vectors[one], vectors[other]), voices[one] == voices[other]
    for name, values in (("same voice", cosines[is_same]), ("different voices", cosines[~is_same])):
        low, high = np.percentile(values, [5, 95])
        spread = f"min {values.min():.3f}, 5 % {low:.3f}, 95 % {high:.3f}, max {values.max():.3f}"
        print(f"{name}: {len(values)} pairs, mean {values.mean():.3f}, {spread}")
    rate, threshold = equal_error(cosines[is_same], cosines[~is_same])
    print(f"equal error rate {rate:.2%} at cosine {threshold:.3f} ({len(set(voices))} voices, {len(found)} utterances)")


if __name__ == "__main__":
    main()
