"""Rotary positions that never run out, and multi-head attention over explicit keys and masks."""

import math

import torch
from torch import Tensor, nn

POSITION_PERIOD = 1024
MASKED = -10000.0  # finite: a row without any valid key gives a mean, not NaN, and it fits float16


def rotary_table(head_dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(POSITION_PERIOD, head_dim): cosines, then sines, of head_dim / 2 angles.

    All frequencies are whole multiples of 2 pi / POSITION_PERIOD, so positions may be taken modulo the period:
    a stream can run for ever. Distances alias only beyond 1024 encoder frames, which no cache reaches.
    """
    pairs = head_dim // 2
    highest = POSITION_PERIOD / (2 * math.pi)
    cycles = torch.round(highest ** (1 - torch.arange(pairs, dtype=torch.float64) / max(1, pairs - 1)))
    angles = torch.arange(POSITION_PERIOD, dtype=torch.float64)[:, None] * cycles * (2 * math.pi / POSITION_PERIOD)
    return torch.cat([angles.cos(), angles.sin()], 1).to(dtype)


def rotate(heads: Tensor, rows: Tensor) -> Tensor:
    """Turn (..., time, head_dim) by table rows that broadcast against it."""
    pairs = heads.shape[-1] // 2
    cosine, sine = rows[..., :pairs], rows[..., pairs:]
    first, second = heads[..., :pairs], heads[..., pairs:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Softmax attention: (b, h, q, d), (b, h, k, d) x 2, additive bias (b or 1, 1, q or 1, k) -> (b, q, h * d)."""
    scores = query @ key.transpose(-2, -1) * (1.0 / math.sqrt(query.shape[-1])) + bias
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def mask_to_bias(valid: Tensor) -> Tensor:
    """1 or True where a key may be seen -> 0 there and MASKED elsewhere, float32."""
    return (1.0 - valid.to(torch.float32)) * MASKED


class Heads(nn.Module):
    """A projection split into heads: (batch, time, dim) -> (batch, heads, time, head_dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(dim, dim)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.project(inputs).unflatten(-1, (self.heads, -1)).transpose(1, 2)
