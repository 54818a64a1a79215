"""Export WeNet's CPU family W3 (batch 1, L > 0): encoder.onnx, ctc.onnx, decoder.onnx with metadata."""

from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.u2pp.attention import mask_to_bias
from recipes.u2pp.config import SOS_EOS_ID
from recipes.u2pp.model import Model
from recipes.u2pp.onnx_files import export, runtime_metadata, set_metadata, train_config, write_units, write_yaml


class CpuEncoder(nn.Module):
    """One chunk; caches have the layers first, offset and cache size are scalars, the caller makes the mask."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(
        self,
        chunk: Tensor,
        offset: Tensor,
        required_cache_size: Tensor,
        att_cache: Tensor,
        cnn_cache: Tensor,
        att_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = self.encoder.subsampling(chunk)
        positions = (offset + torch.arange(x.shape[1]))[None, None]
        keys = att_cache.shape[2] + x.shape[1]
        bias = mask_to_bias(att_mask[:, :, :keys])[:, None]
        att_caches = [cache[None] for cache in att_cache.unbind(0)]
        output, pairs, cnn = self.encoder.step(x, positions, bias, att_caches, list(cnn_cache.unbind(0)))
        joined = torch.cat(pairs, 0)
        return output, joined[:, :, joined.shape[2] - required_cache_size :], torch.stack(cnn, 0)


class CtcHead(nn.Module):
    """Encoder frames to CTC log-probabilities."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.ctc = model.ctc

    def forward(self, hidden: Tensor) -> Tensor:
        return self.ctc(hidden).log_softmax(-1)


def reverse_hypotheses(hyps: Tensor, lengths: Tensor) -> Tensor:
    """(n, longest) rows from sos, lengths counting sos -> the same with the tokens behind sos reversed, eos after."""
    tokens, counts = hyps[:, 1:], (lengths - 1)[:, None]
    steps = torch.arange(tokens.shape[1])[None]
    picked = tokens.gather(1, (counts - 1 - steps).clamp(min=0))
    reversed_tokens = torch.where(steps < counts, picked, torch.full_like(picked, SOS_EOS_ID))
    return torch.cat([hyps[:, :1], reversed_tokens], 1)


class CpuDecoder(nn.Module):
    """N hypotheses against one utterance: the log-probabilities of both directions."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, hyps: Tensor, hyps_lens: Tensor, encoder_out: Tensor) -> tuple[Tensor, Tensor]:
        valid = torch.ones_like(encoder_out[:, :, 0])
        reverse = reverse_hypotheses(hyps, hyps_lens)
        left, right = self.decoder(encoder_out, valid, hyps[None], reverse[None])
        return left[0], right[0]


def export_encoder(model: Model, path: Path) -> None:
    """Write encoder.onnx: dynamic chunk and cache lengths."""
    config = model.config
    inputs = {
        "chunk": torch.randn(1, config.window, config.num_bins),
        "offset": torch.tensor(config.cache),
        "required_cache_size": torch.tensor(config.cache),
        "att_cache": torch.zeros(config.layers, config.heads, config.cache, 2 * config.head_dim),
        "cnn_cache": torch.zeros(config.layers, 1, config.dim, config.kernel - 1),
        "att_mask": torch.ones(1, 1, config.cache + config.chunk, dtype=torch.bool),
    }
    axes = {"chunk": {1: "T"}, "att_cache": {2: "T_CACHE"}, "att_mask": {2: "T_ATT"}}
    axes |= {"output": {1: "T"}, "r_att_cache": {2: "T_CACHE"}}
    export(CpuEncoder(model), inputs, ["output", "r_att_cache", "r_cnn_cache"], axes, path)


def export_ctc(model: Model, path: Path) -> None:
    """Write ctc.onnx."""
    inputs = {"hidden": torch.randn(1, 16, model.config.dim)}
    export(CtcHead(model), inputs, ["probs"], {"hidden": {1: "T"}, "probs": {1: "T"}}, path)


def export_decoder(model: Model, path: Path) -> None:
    """Write decoder.onnx."""
    inputs = {
        "hyps": torch.randint(3, model.config.vocabulary_size, (10, 12)),
        "hyps_lens": torch.full((10,), 12),
        "encoder_out": torch.randn(1, 20, model.config.dim),
    }
    rows = {0: "NBEST", 1: "L"}
    axes = {"hyps": rows, "hyps_lens": {0: "NBEST"}, "encoder_out": {1: "T"}, "score": rows, "r_score": rows}
    export(CpuDecoder(model), inputs, ["score", "r_score"], axes, path)


def export_all(model: Model, units: list[str], folder: Path) -> None:
    """The three graphs with metadata, train.yaml and units.txt."""
    export_encoder(model, folder / "encoder.onnx")
    export_ctc(model, folder / "ctc.onnx")
    export_decoder(model, folder / "decoder.onnx")
    for name in ("encoder", "ctc", "decoder"):
        set_metadata(folder / f"{name}.onnx", runtime_metadata(model.config))
    write_yaml(folder / "train.yaml", train_config(model.config))
    write_units(folder / "units.txt", units)
