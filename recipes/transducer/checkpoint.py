"""What a training run keeps: encoder, head and the CTC layer beside them."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.transducer.config import HeadConfig
from recipes.transducer.head import Head
from recipes.u2pp.checkpoint import load_model
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.model import new_encoder


class Transducer(nn.Module):
    """A causal encoder, a transducer head, and a CTC layer that helps in training."""

    def __init__(self, config: ModelConfig, head: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = new_encoder(config)
        self.head = Head(head, config.dim)
        self.ctc = nn.Linear(config.dim, config.vocabulary_size)


def new_transducer(u2pp: Path | None, vocabulary_size: int, decoder_dim: int, joiner_dim: int) -> Transducer:
    """A new head on a new encoder, or on that of a U2++ checkpoint with its CTC layer."""
    trained = load_model(u2pp) if u2pp is not None else None
    config = trained.config if trained is not None else ModelConfig(vocabulary_size=vocabulary_size)
    head = HeadConfig(vocabulary_size=vocabulary_size, decoder_dim=decoder_dim, joiner_dim=joiner_dim)
    model = Transducer(config, head)
    if trained is not None:
        model.encoder.load_state_dict(trained.encoder.state_dict())
        model.ctc.load_state_dict(trained.ctc.state_dict())
    return model


def save_transducer(model: Transducer, average: dict[str, Tensor], path: Path) -> None:
    """Write both sets of weights, and the sizes, in one piece."""
    values = {"config": model.config.as_dict(), "head": asdict(model.head.config)}
    values |= {"model": model.state_dict(), "average": average}
    partial = path.with_suffix(".partial")
    torch.save(values, partial)
    partial.rename(path)


def load_transducer(path: Path, weights: str = "average") -> Transducer:
    """The `average` (exponential moving) or `model` (last) weights of a checkpoint."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Transducer(ModelConfig.from_dict(saved["config"]), HeadConfig(**saved["head"]))
    model.load_state_dict(saved[weights])
    return model.eval()
