"""Causal conformer encoder; whole utterances and cached chunks run through the same layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.u2pp.attention import POSITION_PERIOD, Heads, attend, rotary_table, rotate
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.subsampling import Subsampling


class FeedForward(nn.Module):
    """Pre-norm feed-forward branch: (batch, time, dim) -> same, without the residual."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.contract(self.dropout(functional.silu(self.expand(self.norm(inputs)))))


class SelfAttention(nn.Module):
    """Rotary self-attention whose cache holds rotated keys and values of earlier frames."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.query = Heads(config.dim, config.heads)
        self.key = Heads(config.dim, config.heads)
        self.value = Heads(config.dim, config.heads)
        self.output = nn.Linear(config.dim, config.dim)

    def forward(self, inputs: Tensor, rows: Tensor, bias: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the branch and [cache | this chunk] as (batch, heads, cached + time, 2 * head_dim)."""
        normed = self.norm(inputs)
        query, key = rotate(self.query(normed), rows), rotate(self.key(normed), rows)
        pair = torch.cat([key, self.value(normed)], -1)
        if cache is not None:
            pair = torch.cat([cache, pair], 2)
        size = key.shape[-1]
        return self.output(attend(query, pair[..., :size], pair[..., size:], bias)), pair


class Convolution(nn.Module):
    """Gated causal depthwise convolution; its cache is the last kernel - 1 gated inputs, (batch, dim, kernel - 1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kernel = config.kernel
        self.norm = nn.LayerNorm(config.dim)
        self.gate = nn.Linear(config.dim, 2 * config.dim)
        self.depthwise = nn.Conv1d(config.dim, config.dim, config.kernel, groups=config.dim)
        self.after = nn.LayerNorm(config.dim)
        self.output = nn.Linear(config.dim, config.dim)

    def forward(self, inputs: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the branch and the next cache."""
        value, gate = self.gate(self.norm(inputs)).chunk(2, -1)
        gated = (value * gate.sigmoid()).transpose(1, 2)
        gated = functional.pad(gated, (self.kernel - 1, 0)) if cache is None else torch.cat([cache, gated], 2)
        mixed = self.depthwise(gated).transpose(1, 2)
        return self.output(functional.silu(self.after(mixed))), gated[:, :, 1 - self.kernel :]


class ConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.before = FeedForward(config.dim, config.feed_forward, dropout)
        self.attention = SelfAttention(config)
        self.convolution = Convolution(config)
        self.after = FeedForward(config.dim, config.feed_forward, dropout)
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, rows: Tensor, bias: Tensor, att_cache: Tensor | None, cnn_cache: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return frames, [cache | chunk] keys and values, next convolution cache."""
        x = x + 0.5 * self.dropout(self.before(x))
        branch, pair = self.attention(x, rows, bias, att_cache)
        x = x + self.dropout(branch)
        branch, cnn_next = self.convolution(x, cnn_cache)
        x = x + self.dropout(branch)
        x = x + 0.5 * self.dropout(self.after(x))
        return self.norm(x), pair, cnn_next


class Encoder(nn.Module):
    """Subsampling and conformer layers."""

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.subsampling = Subsampling(config)
        self.layers = nn.ModuleList(ConformerLayer(config, dropout) for _ in range(config.layers))
        self.register_buffer("rotary", rotary_table(config.head_dim), persistent=False)

    def rows(self, positions: Tensor) -> Tensor:
        """Rotary rows of int64 positions (any shape, non-negative), modulo the period."""
        return self.rotary[positions % POSITION_PERIOD]

    def forward(self, features: Tensor, bias: Tensor, tap: int = 0) -> tuple[Tensor, Tensor]:
        """Whole utterances: (batch, frames, bins) and bias (b, 1, t or 1, t) -> output, and the frames after `tap`."""
        return self.whole(self.subsampling(features), bias, tap)

    def whole(self, x: Tensor, bias: Tensor, tap: int = 0) -> tuple[Tensor, Tensor]:
        """As forward, on frames that are subsampled already: (batch, t, dim)."""
        rows = self.rows(torch.arange(x.shape[1], device=x.device))
        tapped = x
        for number, layer in enumerate(self.layers, 1):
            x, _, _ = layer(x, rows, bias, None, None)
            tapped = x if number == tap else tapped
        return x, tapped

    def step(
        self, x: Tensor, positions: Tensor, bias: Tensor, att_caches: list[Tensor], cnn_caches: list[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """One subsampled chunk (batch, t, dim) with per-layer caches; positions (batch or 1, 1, t).

        Returns frames, and per layer the [cache | chunk] keys and values and the next convolution cache.
        """
        rows = self.rows(positions)
        pairs, cnn_next = [], []
        for layer, att_cache, cnn_cache in zip(self.layers, att_caches, cnn_caches, strict=True):
            x, pair, cnn = layer(x, rows, bias, att_cache, cnn_cache)
            pairs.append(pair)
            cnn_next.append(cnn)
        return x, pairs, cnn_next
