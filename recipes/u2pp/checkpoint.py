"""Models to export: from a training checkpoint, or with reproducible random weights."""

from pathlib import Path

import torch

from recipes.u2pp.config import ModelConfig
from recipes.u2pp.model import Model


def load_model(checkpoint: Path, weights: str = "average") -> Model:
    """The `average` (exponential moving) or `model` (last) weights of a training checkpoint."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = Model(ModelConfig.from_dict(saved["config"]))
    model.load_state_dict(saved[weights])
    return model.eval()


def random_model(config: ModelConfig, seed: int = 1) -> Model:
    """Random weights whose outputs vary from frame to frame: typical feature statistics, sharpened output layers."""
    torch.manual_seed(seed)
    model = Model(config).eval()
    front = model.encoder.subsampling
    front.mean.fill_(10.0)
    front.inverse_deviation.fill_(0.25)
    heads = (model.ctc, model.decoder.forward_decoder.output, model.decoder.reverse_decoder.output)
    with torch.no_grad():
        for head in heads:
            head.weight.mul_(8.0)
    return model
