"""Attention decoders that score hypotheses against encoder frames, teacher-forced."""

import math

import torch
from torch import Tensor, nn

from recipes.u2pp.attention import POSITION_PERIOD, Heads, attend, mask_to_bias
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.encoder import FeedForward


def sinusoids(dim: int) -> Tensor:
    """(POSITION_PERIOD, dim): the transformer paper's table, sines first."""
    rates = torch.exp(torch.arange(dim // 2) * (-math.log(10000.0) / (dim // 2)))
    angles = torch.arange(POSITION_PERIOD)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder, feed-forward, all pre-norm."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        dim, heads = config.dim, config.heads
        self.self_norm, self.cross_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = Heads(dim, heads), Heads(dim, heads), Heads(dim, heads)
        self.cross_query, self.cross_key, self.cross_value = Heads(dim, heads), Heads(dim, heads), Heads(dim, heads)
        self.output, self.cross_output = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.feed_forward = FeedForward(dim, config.decoder_feed_forward, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, beam: int, causal: Tensor, memory: Tensor, memory_bias: Tensor) -> Tensor:
        """x is (batch * beam, tokens, dim), memory (batch, frames, dim): keys are made once per utterance."""
        normed = self.self_norm(x)
        x = x + self.dropout(self.output(attend(self.query(normed), self.key(normed), self.value(normed), causal)))
        tokens = x.shape[1]
        merged = self.cross_norm(x).reshape(-1, beam * tokens, x.shape[2])
        found = attend(self.cross_query(merged), self.cross_key(memory), self.cross_value(memory), memory_bias)
        x = x + self.dropout(self.cross_output(found).reshape(-1, tokens, x.shape[2]))
        return x + self.dropout(self.feed_forward(x))


class Decoder(nn.Module):
    """One direction: token ids (batch, beam, tokens) -> log-probabilities of the next one (batch, beam, tokens, V)."""

    def __init__(self, config: ModelConfig, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary_size, config.dim)
        nn.init.normal_(self.embedding.weight, std=config.dim**-0.5)
        self.scale = math.sqrt(config.dim)
        self.layers = nn.ModuleList(DecoderLayer(config, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(config.dim)
        self.output = nn.Linear(config.dim, config.vocabulary_size)

    def forward(self, tokens: Tensor, memory: Tensor, memory_bias: Tensor, positions: Tensor) -> Tensor:
        """memory (batch, frames, dim) already carries positions; memory_bias (batch, 1, 1, frames)."""
        batch, beam, length = tokens.shape
        steps = torch.arange(length, device=tokens.device)
        x = self.embedding(tokens.reshape(-1, length)) * self.scale + positions[steps % POSITION_PERIOD]
        causal = mask_to_bias(steps[None, :] <= steps[:, None])[None, None]
        for layer in self.layers:
            x = layer(x, beam, causal, memory, memory_bias)
        scores = self.output(self.norm(x)).log_softmax(-1)
        return scores.reshape(batch, beam, length, scores.shape[-1])


class BiDecoder(nn.Module):
    """Left-to-right and right-to-left decoders over the same encoder frames."""

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.forward_decoder = Decoder(config, config.decoder_layers, dropout)
        self.reverse_decoder = Decoder(config, config.reverse_layers, dropout)
        self.register_buffer("positions", sinusoids(config.dim), persistent=False)

    def forward(self, memory: Tensor, valid: Tensor, tokens: Tensor, reversed_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """memory (batch, frames, dim), valid (batch, frames) bool, both token arrays (batch, beam, tokens) from sos."""
        bias = mask_to_bias(valid)[:, None, None]
        frames = torch.arange(memory.shape[1], device=memory.device)
        placed = memory + self.positions[frames % POSITION_PERIOD]
        left = self.forward_decoder(tokens, placed, bias, self.positions)
        return left, self.reverse_decoder(reversed_tokens, placed, bias, self.positions)
