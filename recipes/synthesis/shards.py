"""Feature shards on disk: one .npz of a few hundred utterances, written atomically, so a broken run resumes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Utterance:
    """Clean log-mel features (frames, 80) float16 and the transcript in capitals."""

    features: np.ndarray
    transcript: str


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays as one .npz; the name appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)
    partial.rename(path)


def write_shard(path: Path, utterances: list[Utterance]) -> None:
    """Write all utterances as one file."""
    write_arrays(
        path,
        features=np.concatenate([u.features.astype(np.float16) for u in utterances]),
        lengths=np.array([len(u.features) for u in utterances], np.int32),
        transcripts=np.array([u.transcript for u in utterances]),
    )


def read_shard(path: Path) -> Iterator[Utterance]:
    """The utterances of one shard, as views of one array."""
    with np.load(path) as arrays:
        features, lengths, transcripts = arrays["features"], arrays["lengths"], arrays["transcripts"]
    ends = np.cumsum(lengths)
    for end, length, transcript in zip(ends, lengths, transcripts, strict=True):
        yield Utterance(features[end - length : end], str(transcript))
