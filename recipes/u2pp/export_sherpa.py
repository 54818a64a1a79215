"""Export sherpa-onnx's WeNet CTC family W4: model-streaming.onnx (batch 1) and model.onnx (whole utterances)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.u2pp.attention import mask_to_bias
from recipes.u2pp.export_cpu import CpuEncoder
from recipes.u2pp.export_gpu import before
from recipes.u2pp.model import Model
from recipes.u2pp.onnx_files import export, set_metadata, write_units
from recipes.u2pp.subsampling import valid_length


class StreamingCtc(nn.Module):
    """W3's encoder and CTC head in one, with one-element vectors where W3 has scalars."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.encoder, self.ctc = CpuEncoder(model), model.ctc

    def forward(
        self, x: Tensor, offset: Tensor, required_cache_size: Tensor, attn_cache: Tensor, conv_cache: Tensor,
        attn_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        size = required_cache_size.squeeze(0)
        output, att, cnn = self.encoder(x, offset.squeeze(0), size, attn_cache, conv_cache, attn_mask)
        return self.ctc(output).log_softmax(-1), att, cnn


class OfflineCtc(nn.Module):
    """Features and lengths to CTC log-probabilities and lengths."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.model.encoder.subsampling(x)
        lengths = valid_length(x_lens, self.model.config)
        output, _ = self.model.encoder.whole(frames, mask_to_bias(before(lengths, frames.shape[1]))[:, None, None])
        return self.model.ctc(output).log_softmax(-1), lengths


def export_streaming(model: Model, units: list[str], folder: Path) -> None:
    """model-streaming.onnx and tokens.txt."""
    config = model.config
    inputs = {
        "x": torch.randn(1, config.window, config.num_bins),
        "offset": torch.tensor([config.cache]),
        "required_cache_size": torch.tensor([config.cache]),
        "attn_cache": torch.zeros(config.layers, config.heads, config.cache, 2 * config.head_dim),
        "conv_cache": torch.zeros(config.layers, 1, config.dim, config.kernel - 1),
        "attn_mask": torch.ones(1, 1, config.cache + config.chunk, dtype=torch.bool),
    }
    axes = {"x": {1: "T"}, "log_probs": {1: "T"}}
    path = folder / "model-streaming.onnx"
    export(StreamingCtc(model), inputs, ["log_probs", "next_att_cache", "next_conv_cache"], axes, path)
    metadata = {
        "model_type": "wenet_ctc",
        "version": 1,
        "comment": "streaming",
        "chunk_size": config.chunk,
        "left_chunks": config.left_chunks,
        "head": config.heads,
        "num_blocks": config.layers,
        "output_size": config.dim,
        "cnn_module_kernel": config.kernel,
        "right_context": config.context - 1,
        "subsampling_factor": config.subsampling,
        "vocab_size": config.vocabulary_size,
    }
    set_metadata(path, metadata)
    write_units(folder / "tokens.txt", units)


def export_offline(model: Model, units: list[str], folder: Path) -> None:
    """model.onnx and tokens.txt."""
    config = model.config
    inputs = {"x": torch.randn(2, 150, config.num_bins), "x_lens": torch.tensor([150, 101])}
    axes = {"x": {0: "N", 1: "T"}, "x_lens": {0: "N"}, "log_probs": {0: "N", 1: "T_OUT"}, "log_probs_lens": {0: "N"}}
    path = folder / "model.onnx"
    export(OfflineCtc(model), inputs, ["log_probs", "log_probs_lens"], axes, path)
    metadata = {"model_type": "wenet_ctc", "version": 1, "comment": "non-streaming"}
    metadata |= {"subsampling_factor": config.subsampling, "vocab_size": config.vocabulary_size}
    set_metadata(path, metadata)
    write_units(folder / "tokens.txt", units)
