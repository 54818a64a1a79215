"""Stateless decoder and joiner, as icefall has them (after Ghodsi et al. 2020, RNN-T with a stateless network)."""

import torch
from torch import Tensor, nn

from recipes.transducer.config import HeadConfig

_STRAIGHT = 0.2  # frames of a trained encoder have a deviation near one half: tanh(0.1) is 0.0997


class Decoder(nn.Module):
    """Embeds the last `context_size` tokens and mixes them by a grouped convolution; negative ids embed to zero."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary_size, config.decoder_dim)
        self.mix = nn.Conv1d(
            config.decoder_dim, config.decoder_dim, config.context_size, groups=config.decoder_dim // 4, bias=False
        )

    def forward(self, y: Tensor) -> Tensor:
        """(batch, context_size + n) int -> (batch, n + 1, decoder_dim)."""
        embedded = self.embedding(y.clamp(min=0)) * (y >= 0).unsqueeze(-1)
        return self.mix(embedded.transpose(1, 2)).transpose(1, 2).relu()


class Head(nn.Module):
    """Decoder, both projections, and the joiner's output layer."""

    def __init__(self, config: HeadConfig, encoder_dim: int) -> None:
        super().__init__()
        self.config = config
        self.decoder = Decoder(config)
        self.encoder_proj = nn.Linear(encoder_dim, config.joiner_dim)
        self.decoder_proj = nn.Linear(config.decoder_dim, config.joiner_dim)
        self.output = nn.Linear(config.joiner_dim, config.vocabulary_size)

    def join(self, encoder: Tensor, decoder: Tensor) -> Tensor:
        """Projected outputs that broadcast against each other -> logits."""
        return self.output(torch.tanh(encoder + decoder))

    @torch.no_grad()
    def say(self, ctc: nn.Linear) -> None:
        """Make the logits those of a CTC layer over the same frames, whatever was said before.

        A joiner as wide as the encoder hands small frames on, where tanh is nearly straight, and CTC's weights undo
        the scale. The decoder has no part in it at first; what it learns to add comes on top of a model that works.
        """
        self.encoder_proj.weight.copy_(_STRAIGHT * torch.eye(ctc.in_features))
        self.encoder_proj.bias.zero_()
        self.decoder_proj.weight.zero_()
        self.decoder_proj.bias.zero_()
        self.output.weight.copy_(ctc.weight / _STRAIGHT)
        self.output.bias.copy_(ctc.bias)
