"""Transformer encoder whose layers take Moonshine's weights, plus a causal depthwise convolution; whole or in chunks.

Keys are cached before they are turned, and a chunk counts positions from the oldest frame of its cache: rotary scores
depend on distances only, so a stream may run for ever.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.u2pp.attention import attend
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.subsampling import Subsampling

ROTARY_SHARE = 16 / 18  # of the pairs of a head's dimensions; Moonshine leaves the last two pairs as they are
POSITION_SCALE = 40.0 / 24.0  # our frames are 40 ms apart, those that the weights learned on were 24 ms


def turn(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate (..., time, size) by (time, pairs); a head holds first halves, second halves, then what stays."""
    pairs = cosine.shape[-1]
    first, second, kept = heads.split([pairs, pairs, heads.shape[-1] - 2 * pairs], -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine, kept], -1)


class TransformerLayer(nn.Module):
    """Pre-norm attention, causal depthwise convolution (starts as nothing), feed-forward with GELU."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.heads, self.kernel = config.heads, config.kernel
        self.attention_norm = nn.LayerNorm(config.dim)
        self.projections = nn.Linear(config.dim, 3 * config.dim, bias=False)  # query, key, value
        self.output = nn.Linear(config.dim, config.dim, bias=False)
        self.convolution_norm = nn.LayerNorm(config.dim)
        self.convolution = nn.Conv1d(config.dim, config.dim, config.kernel, groups=config.dim)
        nn.init.zeros_(self.convolution.weight)
        nn.init.zeros_(self.convolution.bias)
        self.feed_forward_norm = nn.LayerNorm(config.dim)
        self.expand = nn.Linear(config.dim, config.feed_forward)
        self.contract = nn.Linear(config.feed_forward, config.dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, cosine: Tensor, sine: Tensor, bias: Tensor, att_cache: Tensor | None, cnn_cache: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return frames, [cache | chunk] keys and values (batch, heads, time, 2 * size), next convolution cache."""
        parts = self.projections(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        size, time = key.shape[-1], x.shape[1]
        pair = torch.cat([key, value], -1)
        if att_cache is not None:
            pair = torch.cat([att_cache, pair], 2)
        query = turn(query, cosine[-time:], sine[-time:])
        found = attend(query, turn(pair[..., :size], cosine, sine), pair[..., size:], bias)
        x = x + self.dropout(self.output(found))
        branch, cnn_next = self._convolve(x, cnn_cache)
        x = x + branch
        hidden = functional.gelu(self.expand(self.feed_forward_norm(x)))
        return x + self.dropout(self.contract(self.dropout(hidden))), pair, cnn_next

    def _convolve(self, x: Tensor, cache: Tensor | None) -> tuple[Tensor, Tensor]:
        normed = self.convolution_norm(x).transpose(1, 2)
        normed = functional.pad(normed, (self.kernel - 1, 0)) if cache is None else torch.cat([cache, normed], 2)
        return self.convolution(normed).transpose(1, 2), normed[:, :, 1 - self.kernel :]


class Guess(nn.Module):
    """Self-conditioning (Nozaki and Komatsu 2021): a CTC guess between layers, fed back into the frames.

    CTC chooses every unit by itself; with this the layers above know what those below would have written.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.ctc = nn.Linear(config.dim, config.vocabulary_size)
        self.feed_back = nn.Linear(config.vocabulary_size, config.dim)
        nn.init.zeros_(self.feed_back.weight)
        nn.init.zeros_(self.feed_back.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) -> the same with the guess added, and its logits (batch, time, vocabulary)."""
        logits = self.ctc(self.norm(x))
        return x + self.feed_back(logits.softmax(-1)), logits


class TransformerEncoder(nn.Module):
    """Same interface as recipes.u2pp.encoder.Encoder."""

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.subsampling = Subsampling(config)
        self.layers = nn.ModuleList(TransformerLayer(config, dropout) for _ in range(config.layers))
        self.guesses = nn.ModuleDict({str(number): Guess(config) for number in config.conditioned})
        self.norm = nn.LayerNorm(config.dim)
        pairs = round(config.head_dim // 2 * ROTARY_SHARE)
        self.register_buffer("frequencies", POSITION_SCALE * 10000.0 ** (-torch.arange(pairs) / pairs))

    def _angles(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        angles = torch.arange(length, device=device)[:, None] * self.frequencies
        return angles.cos(), angles.sin()

    def forward(self, features: Tensor, bias: Tensor, tap: int = 0) -> tuple[Tensor, Tensor]:
        """Whole utterances: (batch, frames, bins) and bias (b, 1, t or 1, t) -> output, and the frames after `tap`."""
        return self.whole(self.subsampling(features), bias, tap)

    def whole(self, x: Tensor, bias: Tensor, tap: int = 0) -> tuple[Tensor, Tensor]:
        """As forward, on frames that are subsampled already: (batch, t, dim)."""
        output, tapped, _ = self.guessing(x, bias, tap)
        return output, tapped

    def guessing(self, x: Tensor, bias: Tensor, tap: int = 0) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As whole, and the logits of all guesses in between."""
        cosine, sine = self._angles(x.shape[1], x.device)
        tapped, guesses = x, []
        for number, layer in enumerate(self.layers, 1):
            x, _, _ = layer(x, cosine, sine, bias, None, None)
            if str(number) in self.guesses:
                x, logits = self.guesses[str(number)](x)
                guesses.append(logits)
            tapped = x if number == tap else tapped
        return self.norm(x), tapped, guesses

    def step(
        self, x: Tensor, positions: Tensor, bias: Tensor, att_caches: list[Tensor], cnn_caches: list[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """One subsampled chunk (batch, t, dim) with per-layer caches; `positions` are not needed.

        Returns frames, and per layer the [cache | chunk] keys and values and the next convolution cache.
        """
        cosine, sine = self._angles(att_caches[0].shape[2] + x.shape[1], x.device)
        pairs, cnn_next = [], []
        for number, (layer, att_cache, cnn_cache) in enumerate(
            zip(self.layers, att_caches, cnn_caches, strict=True), 1
        ):
            x, pair, cnn = layer(x, cosine, sine, bias, att_cache, cnn_cache)
            if str(number) in self.guesses:
                x, _ = self.guesses[str(number)](x)
            pairs.append(pair)
            cnn_next.append(cnn)
        return self.norm(x), pairs, cnn_next


def take_weights(encoder: TransformerEncoder, weights: dict[str, Tensor]) -> None:
    """Copy recipes.moonshine.weights into the layers; q and k are reordered so that halves lie side by side."""
    config = encoder.config
    pairs = encoder.frequencies.shape[0]
    order = torch.cat(
        [torch.arange(0, 2 * pairs, 2), torch.arange(1, 2 * pairs, 2), torch.arange(2 * pairs, config.head_dim)]
    )
    rows = (torch.arange(config.heads)[:, None] * config.head_dim + order).flatten()
    with torch.no_grad():
        encoder.frequencies.copy_(POSITION_SCALE * weights["inverse_frequencies"])
        encoder.norm.weight.copy_(weights["norm.weight"])
        for number, layer in enumerate(encoder.layers):
            prefix = f"layers.{number}."
            turned = [weights[f"{prefix}{name}.weight"][rows] for name in ("query", "key")]
            layer.projections.weight.copy_(torch.cat([*turned, weights[f"{prefix}value.weight"]]))
            layer.output.weight.copy_(weights[f"{prefix}output.weight"])
            for name in ("expand", "contract"):
                getattr(layer, name).weight.copy_(weights[f"{prefix}{name}.weight"])
                getattr(layer, name).bias.copy_(weights[f"{prefix}{name}.bias"])
            for name in ("attention_norm", "feed_forward_norm"):
                getattr(layer, name).weight.copy_(weights[f"{prefix}{name}.weight"])
