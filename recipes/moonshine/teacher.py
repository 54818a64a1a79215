"""Moonshine tiny's encoder in torch: samples -> frames of 24 ms -> frames (Jeffries et al. 2024, arXiv 2410.15608)."""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from recipes.moonshine.weights import NUM_LAYERS, encoder_weights

HEADS = 8
FRAME_MS = 24.0
CENTRE_MS = 27.96875  # middle of the 895 samples behind the first frame


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the first of (..., time, size) pairwise, even with odd, by cosine and sine of (time, pairs) angles."""
    pairs = cosine.shape[-1]
    turned, kept = heads[..., : 2 * pairs].unflatten(-1, (pairs, 2)), heads[..., 2 * pairs :]
    even, odd = turned[..., 0], turned[..., 1]
    pair = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], -1)
    return torch.cat([pair.flatten(-2), kept], -1)


class Teacher:
    """Full-context encoder, for inference only."""

    def __init__(self, path: Path) -> None:
        self._weights = {name: torch.from_numpy(value) for name, value in encoder_weights(path).items()}

    def stem(self, samples: Tensor) -> Tensor:
        """(batch, samples) float32 in [-1, 1] at 16 kHz -> (batch, frames, 288)."""
        w = self._weights
        x = torch.tanh(functional.conv1d(samples[:, None], w["conv1.weight"], stride=64))
        x = functional.group_norm(x, 1, w["group_norm.weight"], w["group_norm.bias"], 1e-5)
        x = functional.gelu(functional.conv1d(x, w["conv2.weight"], w["conv2.bias"], stride=3))
        x = functional.gelu(functional.conv1d(x, w["conv3.weight"], w["conv3.bias"], stride=2))
        return x.transpose(1, 2)

    def layers(self, x: Tensor) -> Tensor:
        """(batch, frames, 288) -> same, normalised."""
        w = self._weights
        angles = torch.arange(x.shape[1])[:, None] * w["inverse_frequencies"]
        for number in range(NUM_LAYERS):
            x = x + self._attention(
                functional.layer_norm(x, x.shape[-1:], w[f"layers.{number}.attention_norm.weight"]),
                f"layers.{number}.",
                angles,
            )
            normed = functional.layer_norm(x, x.shape[-1:], w[f"layers.{number}.feed_forward_norm.weight"])
            hidden = functional.gelu(self._linear(normed, f"layers.{number}.expand"))
            x = x + self._linear(hidden, f"layers.{number}.contract")
        return functional.layer_norm(x, x.shape[-1:], w["norm.weight"])

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def _attention(self, x: Tensor, prefix: str, angles: Tensor) -> Tensor:
        query, key, value = (
            self._linear(x, prefix + name).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        turn = angles.cos(), angles.sin()
        scores = rotate(query, *turn) @ rotate(key, *turn).transpose(-1, -2) / math.sqrt(query.shape[-1])
        return self._linear((scores.softmax(-1) @ value).transpose(1, 2).flatten(2), prefix + "output")


def at_times(frames: Tensor, centres_ms: Tensor) -> Tensor:
    """Teacher frames (batch, t, dim) interpolated linearly at `centres_ms` (n,) -> (batch, n, dim)."""
    position = ((centres_ms - CENTRE_MS) / FRAME_MS).clamp(0, frames.shape[1] - 1)
    low = position.floor().long()
    share = (position - low)[None, :, None]
    return frames[:, low] * (1 - share) + frames[:, (low + 1).clamp(max=frames.shape[1] - 1)] * share
