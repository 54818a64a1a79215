"""What a training run keeps: encoder, head and the CTC layer beside them."""

from pathlib import Path

import torch
from torch import nn

from recipes.transducer.config import HeadConfig
from recipes.transducer.head import Head
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.model import Model, new_encoder


class Transducer(nn.Module):
    """A causal encoder, a transducer head, and a CTC layer that helps in training."""

    def __init__(self, config: ModelConfig, head: HeadConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.encoder = new_encoder(config, dropout)
        self.head = Head(head, config.dim)
        self.ctc = nn.Linear(config.dim, config.vocabulary_size)


def from_u2pp(trained: Model, head: HeadConfig) -> Transducer:
    """A transducer on a U2++ model's encoder that begins by saying what its CTC layer says.

    The joiner has to be as wide as the encoder.
    """
    model = Transducer(trained.config, head)
    model.encoder.load_state_dict(trained.encoder.state_dict())
    model.ctc.load_state_dict(trained.ctc.state_dict())
    model.head.say(trained.ctc)
    return model


def load_transducer(path: Path, weights: str = "average") -> Transducer:
    """The `average` (exponential moving) or `model` (last) weights of a checkpoint."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Transducer(ModelConfig.from_dict(saved["config"]), HeadConfig(**saved["head"]))
    model.load_state_dict(saved[weights])
    return model.eval()
