"""Normalisation and strided convolutions in front of the conformer."""

import torch
from torch import Tensor, nn

from recipes.u2pp.config import ModelConfig

LOWEST = 0.0  # log-mel at int16 scale


class Subsampling(nn.Module):
    """Global CMVN, then log2(subsampling) unpadded 3x3 stride-2 convolutions, then a projection to `dim`.

    forward: (batch, frames, bins) -> (batch, (frames - context) // subsampling + 1, dim).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(config.num_bins))
        self.register_buffer("inverse_deviation", torch.ones(config.num_bins))
        stages, channels, bins = [], 1, config.num_bins
        for width in config.front_channels:
            stages += [nn.Conv2d(channels, width, 3, stride=2), nn.ReLU()]
            channels, bins = width, (bins - 1) // 2
        assert 2 ** len(config.front_channels) == config.subsampling, "one stage per factor of two"
        self.stages = nn.Sequential(*stages)
        self.project: nn.Module = nn.Linear(channels * bins, config.dim)
        if config.front_hidden:
            hidden = nn.Linear(channels * bins, config.front_hidden)
            self.project = nn.Sequential(hidden, nn.GELU(), nn.Linear(config.front_hidden, config.dim))

    def forward(self, features: Tensor) -> Tensor:
        # Digital silence is -15.9: nothing below LOWEST says anything about speech, and it would dominate the scale.
        normalised = (features.clamp(min=LOWEST) - self.mean) * self.inverse_deviation
        maps = self.stages(normalised.unsqueeze(1))
        return self.project(maps.transpose(1, 2).flatten(2))


def valid_length(frames: Tensor, config: ModelConfig) -> Tensor:
    """Encoder frames made from `frames` feature frames, of the same integer type; 0 when there are too few."""
    return torch.clamp(frames - (config.context - config.subsampling), min=0) // config.subsampling
