"""Moonshine's decoder in torch (Jeffries et al. 2024, arXiv 2410.15608), over our encoder's frames.

Six layers of causal self-attention with rotary positions, attention to the encoder, and a gated feed-forward (SwiGLU);
the embedding is the output layer too. A linear reading of our encoder's output stands where Moonshine's own frames
stood: it learns to give what the teacher's encoder gives.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.moonshine.teacher import HEADS, rotate
from recipes.u2pp.attention import attend, mask_to_bias

SOS_ID, EOS_ID, NUM_SPECIALS = 1, 2, 3


def split(x: Tensor) -> Tensor:
    """(batch, time, dim) -> (batch, heads, time, size)."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class SecondLayer(nn.Module):
    """Pre-norm, no biases but in the feed-forward."""

    def __init__(self, dim: int, feed_forward: int) -> None:
        super().__init__()
        for name in ("self_norm", "cross_norm", "feed_forward_norm"):
            setattr(self, name, nn.LayerNorm(dim, bias=False))
        for name in ("query", "key", "value", "output", "cross_query", "cross_key", "cross_value", "cross_output"):
            setattr(self, name, nn.Linear(dim, dim, bias=False))
        self.expand = nn.Linear(dim, 2 * feed_forward)
        self.contract = nn.Linear(feed_forward, dim)

    def keys(self, x: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turned queries and keys, and values of (batch, time, dim)."""
        normed = self.self_norm(x)
        query, key = rotate(split(self.query(normed)), cosine, sine), rotate(split(self.key(normed)), cosine, sine)
        return query, key, split(self.value(normed))

    def cross_keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of encoder frames (batch, frames, dim)."""
        return split(self.cross_key(memory)), split(self.cross_value(memory))

    def rest(self, x: Tensor, found: Tensor, cross: tuple[Tensor, Tensor], cross_bias: Tensor) -> Tensor:
        """What follows self-attention, which found (batch, time, dim)."""
        x = x + self.output(found)
        x = x + self.cross_output(attend(split(self.cross_query(self.cross_norm(x))), *cross, cross_bias))
        return self.fed_forward(x)

    def fed_forward(self, x: Tensor) -> Tensor:
        """The layer's last third, of (..., dim)."""
        value, gate = self.expand(self.feed_forward_norm(x)).chunk(2, -1)
        return x + self.contract(functional.silu(gate) * value)


class SecondDecoder(nn.Module):
    """Token ids (batch, tokens) from sos -> logits of the next ones."""

    def __init__(self, vocabulary_size: int, dim: int = 288, feed_forward: int = 1152, layers: int = 6) -> None:
        super().__init__()
        self.reading = nn.Linear(dim, dim)
        self.embedding = nn.Embedding(vocabulary_size, dim)
        self.layers = nn.ModuleList(SecondLayer(dim, feed_forward) for _ in range(layers))
        self.norm = nn.LayerNorm(dim, bias=False)
        pairs = math.floor(dim // HEADS * 0.9) // 2
        self.register_buffer("frequencies", 10000.0 ** (-torch.arange(pairs) / pairs))

    def take(self, weights: dict[str, Tensor]) -> None:
        """Begin as Moonshine's decoder, whose embedding has our pieces alone, reading frames as they are."""
        eye, nothing = torch.eye(*self.reading.weight.shape), torch.zeros_like(self.reading.bias)
        self.load_state_dict(weights | {"reading.weight": eye, "reading.bias": nothing})

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of positions (time,), each (time, pairs)."""
        angles = positions[:, None] * self.frequencies
        return angles.cos(), angles.sin()

    def forward(self, tokens: Tensor, memory: Tensor, valid: Tensor) -> Tensor:
        """memory (batch, frames, dim) has been read; valid (batch, frames) bool -> (batch, tokens, vocabulary)."""
        x = self.embedding(tokens)
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        causal = mask_to_bias(steps[None, :] <= steps[:, None])[None, None]
        angles, bias = self.angles(steps), mask_to_bias(valid)[:, None, None]
        for layer in self.layers:
            query, key, value = layer.keys(x, *angles)
            x = layer.rest(x, attend(query, key, value, causal), layer.cross_keys(memory), bias)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Of the layers' output."""
        return functional.linear(self.norm(x), self.embedding.weight)

    @classmethod
    def like(cls, weights: dict[str, Tensor], vocabulary_size: int) -> "SecondDecoder":
        """A decoder as wide and deep as these weights, of its own vocabulary."""
        feed_forward, dim = weights["layers.0.contract.weight"].shape[::-1]
        numbers = [int(name.split(".")[1]) for name in weights if name.startswith("layers.")]
        return cls(vocabulary_size, dim, feed_forward, 1 + max(numbers))

    @torch.no_grad()
    def greedy(self, memory: Tensor, valid: Tensor) -> list[list[int]]:
        """The likeliest token after each: ids without sos and eos, for measuring while training."""
        tokens = torch.full((len(memory), 1), SOS_ID, device=memory.device)
        ended = torch.zeros(len(memory), dtype=torch.bool, device=memory.device)
        for _ in range(memory.shape[1] // 3 + 2):
            best = self(tokens, memory, valid)[:, -1].argmax(-1)
            tokens = torch.cat([tokens, torch.where(ended, EOS_ID, best)[:, None]], 1)
            ended |= best == EOS_ID
            if ended.all():
                break
        return [row[: row.index(EOS_ID)] if EOS_ID in row else row for row in tokens[:, 1:].tolist()]
