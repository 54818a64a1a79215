"""Teach the encoder phones from exact alignments before CTC: minutes instead of the many hours CTC's plateau takes."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.u2pp.augment import add_noise, masked, smooth_curve, warp
from recipes.u2pp.loss import encode
from recipes.u2pp.model import Model

NUM_SYMBOLS = 256
PROBES = (5, 9)  # feature frames within an encoder frame's context (0 to 14) whose phones it is asked for
PEAK_RATE = 2e-3


class Aligned:
    """Utterances with a symbol per feature frame, written by recipes.synthesis.aligned."""

    def __init__(self, folder: Path) -> None:
        self._utterances: list[tuple[np.ndarray, np.ndarray]] = []
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as arrays:
                features, symbols, ends = arrays["features"], arrays["phones"], np.cumsum(arrays["lengths"])
            begins = [0, *ends[:-1]]
            self._utterances += [(features[a:b], symbols[a:b]) for a, b in zip(begins, ends, strict=True)]

    def batches(self, frames: int, random: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For ever: features (batch, frames, 80), lengths (batch,), symbols (batch, frames) int64."""
        while True:
            order = sorted(random.permutation(len(self._utterances))[:600], key=lambda i: len(self._utterances[i][0]))
            groups: list[list[int]] = [[]]
            for index in order:
                if groups[-1] and sum(len(self._utterances[i][0]) for i in groups[-1]) > frames:
                    groups.append([])
                groups[-1].append(index)
            for number in random.permutation(len(groups)) if groups[0] else ():
                yield self._batch(groups[number], random)

    def _batch(self, indices: list[int], random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        rows = [self._utterances[index] for index in indices]
        longest = max(len(features) for features, _ in rows)
        features = np.zeros((len(rows), longest, rows[0][0].shape[1]), np.float32)
        symbols = np.zeros((len(rows), longest), np.int64)
        for number, (x, y) in enumerate(rows):
            features[number, : len(x)] = _distort(x.astype(np.float32), random)
            symbols[number, : len(y)] = y
        lengths = torch.tensor([len(x) for x, _ in rows])
        return torch.from_numpy(features), lengths, torch.from_numpy(symbols)


def _distort(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Distortions that leave time as it is."""
    x = warp(x, random.uniform(0.93, 1.08)) + smooth_curve(random, x.shape[1], 0.5)
    x = x + np.float32(random.uniform(-3, 1.5))
    if random.random() < 0.4:
        x = add_noise(x, random, random.uniform(10, 45))
    return masked(x, random)


def bootstrap(model: Model, aligned: Aligned, minutes: float, seed: int) -> None:
    """Train `model.encoder` to name the phones of its frames; the heads for that are thrown away."""
    config = model.config
    device = next(model.parameters()).device
    heads = nn.ModuleList(nn.Linear(config.dim, NUM_SYMBOLS) for _ in PROBES).to(device)
    parameters = [*model.encoder.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.98), foreach=True)
    random = np.random.default_rng(seed)
    began = time.monotonic()
    for step, batch in enumerate(aligned.batches(3000, random), 1):
        features, lengths, symbols = (part.to(device) for part in batch)
        done = (time.monotonic() - began) / 60 / minutes
        chunk, left = ((8, 8), (8, 8), (4, 8), (-1, -1))[step % 4]
        output, tapped, counts, _ = encode(model, features, lengths, chunk, left, config.layers // 2)
        valid = torch.arange(output.shape[1], device=device)[None] < counts[:, None]
        loss = torch.zeros((), device=device)
        for head, probe in zip(heads, PROBES, strict=True):
            wanted = symbols[:, probe :: config.subsampling][:, : output.shape[1]][valid]
            loss = loss + functional.cross_entropy(head(output[valid]), wanted)
            loss = loss + 0.5 * functional.cross_entropy(head(tapped[valid]), wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 2.0, foreach=True)
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * min(1.0, step / 150) * max(0.1, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        optimiser.step()
        if step % 50 == 0:
            print(f"bootstrap step {step}: {loss.item() / 3:.3f} nats per frame and probe", flush=True)
        if done >= 1:
            return
