"""The exports of icefall's families, with their names, axes and metadata (the project's model contract, section 3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipes.transducer.config import NUM_BINS, ZipformerConfig
from recipes.transducer.head import Head
from recipes.transducer.zipformer import Zipformer, batch_axis
from recipes.u2pp.onnx_files import export, set_metadata

AUTHOR = {"version": 1, "model_author": "k2-fsa"}


class DecoderGraph(nn.Module):
    """y -> projected decoder output, squeezed."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, y: Tensor) -> Tensor:
        return self.head.decoder_proj(self.head.decoder(y).squeeze(1))


class JoinerGraph(nn.Module):
    """Projected outputs -> logits."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        return self.head.join(encoder_out, decoder_out)


def export_head(head: Head, folder: Path, suffix: str = "", integers: torch.dtype = torch.int64) -> None:
    """decoder.onnx and joiner.onnx of the K families."""
    config = head.config
    y = torch.zeros(2, config.context_size, dtype=integers)
    path = folder / f"decoder{suffix}.onnx"
    export(DecoderGraph(head), {"y": y}, ["decoder_out"], {"y": {0: "N"}, "decoder_out": {0: "N"}}, path)
    set_metadata(path, {"context_size": config.context_size, "vocab_size": config.vocabulary_size})
    rows = torch.zeros(2, config.joiner_dim)
    names = ("encoder_out", "decoder_out", "logit")
    path = folder / f"joiner{suffix}.onnx"
    export(JoinerGraph(head), {"encoder_out": rows, "decoder_out": rows}, ["logit"], {n: {0: "N"} for n in names}, path)
    set_metadata(path, {"joiner_dim": config.joiner_dim})


class StreamingZipformer(nn.Module):
    """One chunk; K2 with a head, streaming K3 with a CTC layer."""

    def __init__(self, encoder: Zipformer, output: nn.Module) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        hidden, following = self.encoder(x, [*states[:-1], states[-1].to(torch.int64)])
        following[-1] = following[-1].to(states[-1].dtype)
        return self.output(hidden), *following


class OfflineZipformer(nn.Module):
    """Whole recordings; K1 with a head, offline K3 with a CTC layer."""

    def __init__(self, encoder: Zipformer, output: nn.Module) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        hidden, lengths = self.encoder.whole(x, x_lens.to(torch.int64))
        return self.output(hidden), lengths.to(x_lens.dtype)


class LogProbs(nn.Module):
    """A CTC layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor) -> Tensor:
        return self.layer(hidden).log_softmax(-1)


def zipformer_metadata(config: ZipformerConfig) -> dict[str, Any]:
    """Metadata of streaming zipformer2 encoders."""

    def joined(values: tuple[int, ...]) -> str:
        return ",".join(map(str, values))

    return {
        "model_type": "zipformer2",
        **AUTHOR,
        "comment": "streaming zipformer2",
        "decode_chunk_len": config.decode_chunk_len,
        "T": config.window,
        "num_encoder_layers": joined(config.layers),
        "encoder_dims": joined(config.dims),
        "cnn_module_kernels": joined(config.kernels),
        "left_context_len": joined(config.left_context),
        "query_head_dims": joined((config.query_head_dim,) * len(config.layers)),
        "value_head_dims": joined((config.value_head_dim,) * len(config.layers)),
        "num_heads": joined(config.heads),
    }


def export_streaming_zipformer(
    encoder: Zipformer, output: nn.Module, path: Path, name: str = "encoder_out", integers: torch.dtype = torch.int64
) -> None:
    """K2 (`name` encoder_out) or streaming K3 (`name` log_probs)."""
    states = encoder.initial_states(2)
    states["processed_lens"] = states["processed_lens"].to(integers)
    inputs = {"x": torch.zeros(2, encoder.config.window, NUM_BINS), **states}
    axes: dict[str, Mapping[int, str]] = {"x": {0: "N"}, name: {0: "N"}}
    for state, value in states.items():
        axis = {axis: "N" for axis, size in enumerate(value.shape) if axis == batch_axis(state)}
        axes |= {state: axis, f"new_{state}": axis}
    export(StreamingZipformer(encoder, output), inputs, [name, *(f"new_{state}" for state in states)], axes, path)
    comment = {"comment": "streaming ctc zipformer2"} if name == "log_probs" else {}
    set_metadata(path, zipformer_metadata(encoder.config) | comment)


def export_offline_zipformer(encoder: Zipformer, output: nn.Module, path: Path, name: str = "encoder_out") -> None:
    """K1 (`name` encoder_out) or offline K3 (`name` log_probs)."""
    inputs = {"x": torch.randn(2, 100, NUM_BINS), "x_lens": torch.tensor([100, 83])}
    lengths = "encoder_out_lens" if name == "encoder_out" else "log_probs_len"
    axes = {"x": {0: "N", 1: "T"}, "x_lens": {0: "N"}, name: {0: "N", 1: "T"}, lengths: {0: "N"}}
    export(OfflineZipformer(encoder, output), inputs, [name, lengths], axes, path)
    kind = "zipformer2" if name == "encoder_out" else "zipformer2_ctc"
    set_metadata(path, {"model_type": kind, **AUTHOR, "comment": "non-streaming zipformer2"})
