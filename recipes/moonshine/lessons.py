"""Batches with the teacher's answers: features distorted without moving them in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipes.u2pp.augment import LOG_FLOOR, NOISE_DB, add_noise, masked, reverberate, smooth_curve, telephone, warp
from recipes.u2pp.data import Batch, collate
from recipes.u2pp.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Lesson:
    """features (frames, 80), the teacher's stem and output (encoder frames, dim), all float16; transcript."""

    features: np.ndarray
    stem: np.ndarray
    output: np.ndarray
    transcript: str


@dataclass(frozen=True, slots=True)
class LessonBatch:
    """A batch and, padded with zeros, stem and output (batch, encoder frames, dim); counts (batch,) of valid ones."""

    batch: Batch
    stem: Tensor
    output: Tensor
    counts: Tensor

    def to(self, device: torch.device) -> "LessonBatch":
        """The same on a device."""
        parts = (part.to(device) for part in (self.stem, self.output, self.counts))
        return LessonBatch(self.batch.to(device), *parts)


def read_lessons(folder: Path) -> list[Lesson]:
    """All shards of recipes.moonshine.targets."""
    lessons = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        frame_ends, count_ends = np.cumsum(held["lengths"]), np.cumsum(held["counts"])
        for index, transcript in enumerate(held["transcripts"]):
            frames = slice(frame_ends[index] - held["lengths"][index], frame_ends[index])
            counts = slice(count_ends[index] - held["counts"][index], count_ends[index])
            lesson = Lesson(held["features"][frames], held["stem"][counts], held["output"][counts], str(transcript))
            lessons.append(lesson)
    return lessons


def distort(features: np.ndarray, random: np.random.Generator, hard: bool) -> np.ndarray:
    """Level, channel and vocal tract; if `hard` also telephone, room, noise and masks. (frames, 80) float32."""
    x = features.astype(np.float32)
    x = x + smooth_curve(random, x.shape[1], 0.4) + np.float32(random.uniform(-3.5, 2.0))
    if hard:
        x = warp(x, random.uniform(0.96, 1.04))
        if random.random() < 0.07:
            x = telephone(x, random)
        if random.random() < 0.1:
            x = reverberate(x, random)
        if random.random() < 0.5:
            x = add_noise(x, random, random.uniform(*NOISE_DB))
        x = masked(x, random)
    return np.maximum(x, LOG_FLOOR).astype(np.float32)


def _padded(arrays: list[np.ndarray]) -> Tensor:
    out = torch.zeros(len(arrays), max(map(len, arrays)), arrays[0].shape[1])
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = torch.from_numpy(array.astype(np.float32))
    return out


def lesson_batches(
    lessons: list[Lesson], tokens: Tokens, frames_per_batch: int, random: np.random.Generator, hard: bool
) -> Iterator[LessonBatch]:
    """Endless: batches of similar length in random order."""
    while True:
        order = np.argsort(np.array([len(one.features) for one in lessons]) * random.uniform(0.9, 1.1, len(lessons)))
        groups: list[list[Lesson]] = [[]]
        size = 0
        for index in order:
            size += len(lessons[index].features)
            if size > frames_per_batch:
                groups.append([])
                size = len(lessons[index].features)
            groups[-1].append(lessons[index])
        for number in random.permutation(len(groups)):
            group = groups[number]
            if not group:
                continue
            batch = collate(
                [distort(one.features, random, hard) for one in group], [tokens.encode(one.transcript) for one in group]
            )
            counts = torch.tensor([len(one.stem) for one in group])
            yield LessonBatch(batch, _padded([o.stem for o in group]), _padded([o.output for o in group]), counts)
