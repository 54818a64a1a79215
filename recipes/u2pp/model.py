"""Encoder, CTC head and attention decoders as one module (U2++, Wu et al. 2021)."""

from torch import nn

from recipes.u2pp.config import ModelConfig
from recipes.u2pp.decoder import BiDecoder
from recipes.u2pp.encoder import Encoder
from recipes.u2pp.transformer import TransformerEncoder


def new_encoder(config: ModelConfig, dropout: float = 0.0) -> Encoder | TransformerEncoder:
    """The encoder that `config.encoder` names; both kinds have the same interface."""
    return {"conformer": Encoder, "transformer": TransformerEncoder}[config.encoder](config, dropout)


class Model(nn.Module):
    """What a checkpoint holds; the loss and the exporters call its parts."""

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.encoder = new_encoder(config, dropout)
        self.ctc = nn.Linear(config.dim, config.vocabulary_size)
        self.decoder = BiDecoder(config, dropout)


def num_parameters(module: nn.Module) -> int:
    """Trained values of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
