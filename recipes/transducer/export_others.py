"""K4, K5, K6, T1 and T2: graphs, names, axes and metadata (the project's model contract, section 3)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.transducer.config import NUM_BINS
from recipes.transducer.conformer import OfflineConformer, StreamingConformer, TritonConformer
from recipes.transducer.head import Head
from recipes.transducer.onnx_files import AUTHOR
from recipes.transducer.zipformer1 import BATCH_AXES, GROUPS, StreamingZipformer1, TritonZipformer1
from recipes.u2pp.onnx_files import export, set_metadata


class TritonDecoder(nn.Module):
    """y -> (batch, 1, decoder_dim), not projected; knows no negative ids."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.decoder = head.decoder

    def forward(self, y: Tensor) -> Tensor:
        return self.decoder.mix(self.decoder.embedding(y).transpose(1, 2)).transpose(1, 2).relu()


class TritonJoiner(nn.Module):
    """Unprojected outputs -> logits."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        return self.head.join(self.head.encoder_proj(encoder_out), self.head.decoder_proj(decoder_out))


def export_triton_head(head: Head, encoder_dim: int, folder: Path) -> None:
    """decoder.onnx and joiner.onnx of T1 and T2, without metadata."""
    y = torch.zeros(2, head.config.context_size, dtype=torch.int64)
    axes = {"y": {0: "B"}, "decoder_out": {0: "B"}}
    export(TritonDecoder(head), {"y": y}, ["decoder_out"], axes, folder / "decoder.onnx")
    inputs = {"encoder_out": torch.zeros(2, encoder_dim), "decoder_out": torch.zeros(2, head.config.decoder_dim)}
    axes = {name: {0: "B"} for name in (*inputs, "logit")}
    export(TritonJoiner(head), inputs, ["logit"], axes, folder / "joiner.onnx")


def export_streaming_conformer(graph: StreamingConformer, path: Path) -> None:
    """K5."""
    states = graph.states(2)
    inputs = {"x": torch.zeros(2, graph.encoder.config.window, NUM_BINS), **states}
    outputs = ["encoder_out", "new_cached_attn", "new_cached_conv"]
    axes = {name: {0: "N"} for name in ("x", "processed_lens", "encoder_out")}
    axes |= {f"{new}{name}": {2: "N"} for name in ("cached_attn", "cached_conv") for new in ("", "new_")}
    export(graph, inputs, outputs, axes, path)
    set_metadata(path, graph.metadata())


def export_offline_conformer(graph: OfflineConformer, path: Path) -> None:
    """K6."""
    inputs = {"x": torch.randn(2, 100, NUM_BINS), "x_lens": torch.tensor([100, 83])}
    axes = {"x": {0: "N", 1: "T"}, "x_lens": {0: "N"}, "encoder_out": {0: "N", 1: "T"}, "encoder_out_lens": {0: "N"}}
    export(graph, inputs, ["encoder_out", "encoder_out_lens"], axes, path)
    set_metadata(path, {"model_type": "conformer", **AUTHOR, "comment": "non-streaming conformer"})


def export_triton_conformer(graph: TritonConformer, path: Path) -> None:
    """T1."""
    inputs = {"x": torch.zeros(2, 75, NUM_BINS), "x_lens": torch.full((2,), 75)}
    states = graph.states(2)
    inputs["attn_cache"] = states["cached_attn"].permute(2, 1, 0, 3).contiguous()
    inputs["cnn_cache"] = states["cached_conv"].permute(2, 1, 0, 3).contiguous()
    inputs["processed_lens"] = states["processed_lens"][:, None]
    outputs = ["encoder_out", "encoder_out_lens", "next_attn_cache", "next_cnn_cache", "next_processed_lens"]
    axes = {name: {0: "B"} for name in (*inputs, *outputs)} | {"x": {0: "B", 1: "T"}}
    export(graph, inputs, outputs, axes, path)


def export_streaming_zipformer1(graph: StreamingZipformer1, chunk: int, path: Path) -> None:
    """K4; `chunk` encoder frames a step."""
    encoder, states = graph.encoder, graph.states(2)
    inputs = {"x": torch.zeros(2, 4 * chunk + 7, NUM_BINS), **states}
    axes = {"x": {0: "N"}, "encoder_out": {0: "N"}}
    for group, axis in zip(GROUPS, BATCH_AXES, strict=True):
        axes |= {f"{new}{group}_{stack}": {axis: "N"} for stack in range(2) for new in ("", "new_")}
    export(graph, inputs, ["encoder_out", *(f"new_{name}" for name in states)], axes, path)
    layers = len(encoder.stacks[0])
    values = {
        "decode_chunk_len": 4 * chunk, "T": 4 * chunk + 7, "num_encoder_layers": f"{layers},{layers}",
        "encoder_dims": f"{encoder.dim},{encoder.dim}", "attention_dims": f"{encoder.attention},{encoder.attention}",
        "cnn_module_kernels": f"{encoder.kernel},{encoder.kernel}",
        "left_context_len": f"{encoder.left},{encoder.left}",
    }  # fmt: skip
    set_metadata(path, {"model_type": "zipformer", **AUTHOR, **values})


def export_triton_zipformer1(graph: TritonZipformer1, path: Path) -> None:
    """T2."""
    states = graph.states(2)
    inputs = {"x": torch.zeros(2, 71, NUM_BINS), "x_lens": torch.full((2,), 71), **states}
    outputs = ["encoder_out", "encoder_out_lens", *(f"new_{name}" for name in states)]
    axes = {name: {0: "N"} for name in (*inputs, *outputs)} | {"x": {0: "N", 1: "T"}}
    export(graph, inputs, outputs, axes, path)
