"""Sizes of one model; every number that an export or a side file needs."""

from dataclasses import asdict, dataclass
from typing import Any

BLANK_ID = 0
UNKNOWN_ID = 1
SOS_EOS_ID = 2


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A U2++ model. Frames are 10 ms features unless they say encoder."""

    vocabulary_size: int
    num_bins: int = 80
    subsampling: int = 8  # 4 or 8
    front_channels: tuple[int, ...] = (32, 64, 96)  # one stride-2 convolution per factor of two
    front_hidden: int = 0  # a hidden layer behind them; 0: none
    encoder: str = "conformer"  # or "transformer": Moonshine's layers, see recipes.u2pp.transformer
    conditioned: tuple[int, ...] = ()  # transformer layers (from 1) after which a CTC guess is fed back
    dim: int = 192
    heads: int = 4
    feed_forward: int = 768
    layers: int = 6
    kernel: int = 8  # of the causal depthwise convolution
    decoder_feed_forward: int = 512
    decoder_layers: int = 2
    reverse_layers: int = 1
    reverse_weight: float = 0.3
    ctc_weight: float = 0.5  # in rescoring
    chunk: int = 8  # encoder frames per streaming step
    left_chunks: int = 8
    beam: int = 10

    @property
    def context(self) -> int:
        """Frames behind the first encoder frame."""
        return 2 * self.subsampling - 1

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def cache(self) -> int:
        """Encoder frames of left context."""
        return self.chunk * self.left_chunks

    @property
    def window(self) -> int:
        """Frames that one streaming step reads."""
        return (self.chunk - 1) * self.subsampling + self.context

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """What `as_dict` gave, read back; older checkpoints lack the newer fields."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)
