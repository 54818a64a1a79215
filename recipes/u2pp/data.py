"""Utterances in memory, mixed by source, augmented, and batched by length."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipes.synthesis.shards import Utterance, read_shard
from recipes.u2pp.augment import LOG_FLOOR, augment, pad, silence
from recipes.u2pp.tokens import Tokens

_SILENCE_SHARE = 0.015
_PAIR_SHARE = 0.1
_MIN_FRAMES = 40


@dataclass(frozen=True, slots=True)
class Batch:
    """features (batch, frames, 80) float32 padded with the floor, frame counts (batch,) int64, token id lists."""

    features: Tensor
    lengths: Tensor
    tokens: list[list[int]]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; token lists stay lists."""
        return Batch(self.features.to(device), self.lengths.to(device), self.tokens)


class Corpus:
    """All shards of a folder, grouped by source (the file name up to the first dash). Grows while synthesis runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: set[str] = set()
        self.sources: dict[str, list[Utterance]] = {}

    def refresh(self) -> None:
        """Load shards that have appeared since the last call."""
        for path in sorted(self._folder.glob("*.npz")):
            if path.name not in self._loaded:
                self._loaded.add(path.name)
                self.sources.setdefault(path.name.split("-")[0], []).extend(read_shard(path))

    def hours(self) -> dict[str, float]:
        """Hours of audio per source."""
        return {name: sum(len(u.features) for u in group) / 360000 for name, group in self.sources.items()}


def draw(corpus: Corpus, shares: dict[str, float], count: int, random: np.random.Generator) -> list[Utterance]:
    """`count` utterances in which each source has its share; a source repeats only when it has run out."""
    present = {name: share for name, share in shares.items() if corpus.sources.get(name)}
    total = sum(present.values())
    drawn: list[Utterance] = []
    for name, share in present.items():
        group, wanted = corpus.sources[name], round(count * share / total)
        order = np.concatenate([random.permutation(len(group)) for _ in range(-(-wanted // len(group)))])
        drawn.extend(group[index] for index in order[:wanted])
    return drawn


def _example(pool: list[Utterance], index: int, random: np.random.Generator, clean: bool) -> tuple[np.ndarray, str]:
    """One augmented utterance: usually pool[index], rarely just noise.

    `clean` gives it undistorted: CTC leaves its plateau of blanks several times sooner on easy speech.
    """
    if clean:
        return pad(pool[index].features, 5, 25).astype(np.float32), pool[index].transcript
    if random.random() < _SILENCE_SHARE:
        return silence(random), ""
    chosen, other = pool[index], pool[random.integers(len(pool))]
    return augment(chosen.features, other.features, random), chosen.transcript


def collate(features: list[np.ndarray], tokens: list[list[int]]) -> Batch:
    """Pad to the longest."""
    lengths = torch.tensor([len(f) for f in features])
    padded = torch.full((len(features), max(_MIN_FRAMES, int(lengths.max())), features[0].shape[1]), LOG_FLOOR)
    for row, array in zip(padded, features, strict=True):
        row[: len(array)] = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    return Batch(padded, lengths, tokens)


def with_pairs(pool: list[Utterance], random: np.random.Generator) -> list[Utterance]:
    """A tenth is followed by another utterance after 0 to 1.2 s of digital silence.

    Before batches are made: one pair among single sentences would double the length of the whole batch.
    """
    mixed = list(pool)
    for index in np.flatnonzero(random.random(len(pool)) < _PAIR_SHARE):
        first, second = pool[index], pool[random.integers(len(pool))]
        gap = np.full((random.integers(0, 120), first.features.shape[1]), LOG_FLOOR, np.float16)
        features = np.concatenate([first.features, gap, second.features])
        mixed[index] = Utterance(features, f"{first.transcript} {second.transcript}")
    return mixed


@dataclass(frozen=True, slots=True)
class Share:
    """Which of `world` processes this is; `order`, in the same state in all of them, decides what goes together."""

    order: np.random.Generator
    rank: int = 0
    world: int = 1


def _groups(pool: list[Utterance], frames_per_batch: int, share: Share) -> Iterator[list[int]]:
    """Utterances of similar length in random order. What processes get at the same time is of similar length too, or
    they would wait for each other.
    """
    jittered = np.array([len(u.features) for u in pool]) * share.order.uniform(0.9, 1.1, len(pool))
    groups: list[list[int]] = [[]]
    size = 0
    for index in np.argsort(jittered):
        size += len(pool[index].features) + 70
        if size > frames_per_batch:
            groups.append([])
            size = len(pool[index].features) + 70
        groups[-1].append(int(index))
    groups = [group for group in groups if group]
    for number in share.order.permutation(max(1, len(groups) // share.world)):
        yield groups[(number * share.world + share.rank) % len(groups)]


def training_batches(
    pool: list[Utterance],
    tokens: Tokens,
    frames_per_batch: int,
    random: np.random.Generator,
    share: Share,
    clean: bool = False,
) -> Iterator[Batch]:
    """Batches of similar length in random order; augmentation happens when a batch is asked for."""
    pool = pool if clean else with_pairs(pool, share.order)
    for group in _groups(pool, frames_per_batch, share):
        examples = [_example(pool, index, random, clean) for index in group]
        yield collate([f for f, _ in examples], [tokens.encode(t) for _, t in examples])


def plain_batches(utterances: list[Utterance], tokens: Tokens, size: int = 16) -> Iterator[Batch]:
    """Unaugmented batches in file order, with 0.3 s of silence behind, for measuring."""
    for start in range(0, len(utterances), size):
        part = utterances[start : start + size]
        tail = np.full((30, 80), LOG_FLOOR, np.float32)
        yield collate([np.concatenate([u.features, tail]) for u in part], [tokens.encode(u.transcript) for u in part])
