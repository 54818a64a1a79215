"""The causal conformer of `recipes.u2pp` as a transducer's encoder, in icefall's and in sherpa's Triton contract.

A trained U2++ encoder can be the start of a transducer. Its attention caches keys and values, not the layers' inputs:
they lie one behind the other, so `left_context` in the metadata is twice the frames that are remembered.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from recipes.u2pp.attention import mask_to_bias
from recipes.u2pp.encoder import Encoder
from recipes.u2pp.export_gpu import before
from recipes.u2pp.subsampling import valid_length

# U2++ hears int16 samples, icefall's front end samples in [-1, 1]: log energies differ by this much.
OFFSET = 2 * math.log(32768.0)


class StreamingConformer(nn.Module):
    """K5's encoder: (batch, window, bins), states -> (batch, chunk, dim), next states."""

    def __init__(self, encoder: Encoder, output: nn.Module) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output
        self.offset = OFFSET

    def forward(
        self, x: Tensor, cached_attn: Tensor, cached_conv: Tensor, processed_lens: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        frames = self.encoder.subsampling(x + self.offset)
        return self.advance(frames, cached_attn, cached_conv, processed_lens)

    def advance(self, x: Tensor, attn: Tensor, conv: Tensor, processed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (batch, t, dim) subsampled; attn (layers, 2 * left, batch, dim), conv (layers, kernel - 1, batch, dim)."""
        config = self.encoder.config
        left, time = config.cache, x.shape[1]
        positions = (processed[:, None] + torch.arange(time))[:, None]
        past = torch.arange(left)[None] >= left - processed[:, None]
        mask = torch.cat([past, torch.ones_like(past[:, :1]).expand(-1, time)], 1)
        pairs = [self._split(layer, left) for layer in attn.unbind(0)]
        convolutions = [layer.permute(1, 2, 0) for layer in conv.unbind(0)]
        x, pairs, convolutions = self.encoder.step(x, positions, mask_to_bias(mask)[:, None, None], pairs, convolutions)
        new_attn = torch.stack([self._join(pair[:, :, -left:]) for pair in pairs])
        return self.output(x), new_attn, torch.stack([cache.permute(2, 0, 1) for cache in convolutions])

    def _split(self, cache: Tensor, left: int) -> Tensor:
        """(2 * left, batch, dim) -> (batch, heads, left, 2 * head_dim)."""
        heads = self.encoder.config.heads
        keys, values = (part.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for part in (cache[:left], cache[left:]))
        return torch.cat([keys, values], -1)

    def _join(self, pair: Tensor) -> Tensor:
        keys, values = (part.permute(2, 0, 1, 3).flatten(2) for part in pair.chunk(2, -1))
        return torch.cat([keys, values], 0)

    def metadata(self) -> dict[str, Any]:
        """K5's metadata."""
        config = self.encoder.config
        return {
            "model_type": "conformer", "version": 1, "model_author": "k2-fsa", "comment": "streaming conformer",
            "pad_length": config.window - config.chunk * config.subsampling,
            "decode_chunk_len": config.chunk * config.subsampling, "encoder_dim": config.dim,
            "num_encoder_layers": config.layers, "cnn_module_kernel": config.kernel,
            "left_context": 2 * config.cache, "right_context": 0, "chunk_size": config.chunk, "T": config.window,
        }  # fmt: skip

    def states(self, batch: int) -> dict[str, Tensor]:
        """K5's states for new streams."""
        config = self.encoder.config
        return {
            "cached_attn": torch.zeros(config.layers, 2 * config.cache, batch, config.dim),
            "cached_conv": torch.zeros(config.layers, config.kernel - 1, batch, config.dim),
            "processed_lens": torch.zeros(batch, dtype=torch.int64),
        }


class TritonConformer(StreamingConformer):
    """T1's encoder: batch-first states, a frame cut off at each edge, nothing projected."""

    def forward(  # type: ignore[override]
        self, x: Tensor, x_lens: Tensor, attn_cache: Tensor, cnn_cache: Tensor, processed_lens: Tensor
    ) -> tuple[Tensor, ...]:
        frames = self.encoder.subsampling(x + self.offset)[:, 1:-1]
        attn, conv = attn_cache.permute(2, 1, 0, 3), cnn_cache.permute(2, 1, 0, 3)
        out, attn, conv = self.advance(frames, attn, conv, processed_lens[:, 0])
        lengths = torch.div(x_lens - 3, 4, rounding_mode="floor") - 2
        return out, lengths, attn.permute(2, 1, 0, 3), conv.permute(2, 1, 0, 3), processed_lens + lengths[:, None]


class OfflineConformer(nn.Module):
    """K6's encoder."""

    def __init__(self, encoder: Encoder, output: nn.Module) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.encoder.subsampling(x + OFFSET)
        lengths = valid_length(x_lens, self.encoder.config)
        out, _ = self.encoder.whole(frames, mask_to_bias(before(lengths, frames.shape[1]))[:, None, None])
        return self.output(out), lengths
