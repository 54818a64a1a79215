"""What all exporters share: the call to torch.onnx.export, metadata, and WeNet's side files."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
import yaml
from torch import Tensor, nn

from recipes.u2pp.config import SOS_EOS_ID, ModelConfig

OPSET = 17  # the first with LayerNormalization
Axes = Mapping[str, Mapping[int, str]]


def export(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], axes: Axes, path: Path) -> None:
    """Trace `module` on example inputs (in argument order) and write one ONNX file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(names) for name, names in axes.items()},
            do_constant_folding=True,
            dynamo=False,
        )


def set_metadata(path: Path, values: Mapping[str, Any]) -> None:
    """Add string properties to a written graph."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in values.items()})
    onnx.save(model, path)


def write_units(path: Path, units: Sequence[str]) -> None:
    """WeNet's `token id` lines."""
    path.write_text("".join(f"{unit} {index}\n" for index, unit in enumerate(units)), encoding="utf-8")


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Block style, keys in the order given."""
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")


def streaming_config(config: ModelConfig, fp16: bool = False) -> dict[str, Any]:
    """config.yaml of W2; `decoding_window` is how streaming is recognised."""
    return {
        "subsampling_rate": config.subsampling,
        "context": config.context,
        "decoding_chunk_size": config.chunk,
        "num_decoding_left_chunks": config.left_chunks,
        "beam_size": config.beam,
        "fp16": fp16,
        "feat_size": config.num_bins,
        "decoding_window": config.window,
        "cnn_module_kernel_cache": config.kernel - 1,
        "return_ctc_logprobs": False,
    }


def offline_config(config: ModelConfig, fp16: bool = False) -> dict[str, Any]:
    """config.yaml of W1, with the front end's numbers added (WeNet leaves them out)."""
    return {
        "beam_size": config.beam,
        "reverse_weight": config.reverse_weight,
        "ctc_weight": config.ctc_weight,
        "fp16": fp16,
        "subsampling_rate": config.subsampling,
        "context": config.context,
    }


def train_config(config: ModelConfig) -> dict[str, Any]:
    """train.yaml: the keys that WeNet's runtimes read."""
    return {
        "input_dim": config.num_bins,
        "output_dim": config.vocabulary_size,
        "encoder": config.encoder,
        "encoder_conf": {
            "output_size": config.dim,
            "attention_heads": config.heads,
            "linear_units": config.feed_forward,
            "num_blocks": config.layers,
            "input_layer": f"conv2d{'' if config.subsampling == 4 else config.subsampling}",
            "causal": True,
            "use_cnn_module": True,
            "cnn_module_kernel": config.kernel,
            "use_dynamic_chunk": True,
        },
        "decoder": "bitransformer",
        "decoder_conf": {
            "attention_heads": config.heads,
            "linear_units": config.decoder_feed_forward,
            "num_blocks": config.decoder_layers,
            "r_num_blocks": config.reverse_layers,
        },
        "model_conf": {"ctc_weight": config.ctc_weight, "reverse_weight": config.reverse_weight},
        "dataset_conf": {
            "fbank_conf": {"num_mel_bins": config.num_bins, "frame_shift": 10, "frame_length": 25, "dither": 0.0},
            "resample_conf": {"resample_rate": 16000},
        },
    }


def runtime_metadata(config: ModelConfig) -> dict[str, Any]:
    """Metadata of WeNet's CPU exports (W3)."""
    return {
        "output_dim": config.vocabulary_size,
        "batch": 1,
        "chunk_size": config.chunk,
        "left_chunks": config.left_chunks,
        "reverse_weight": config.reverse_weight,
        "output_size": config.dim,
        "num_blocks": config.layers,
        "cnn_module_kernel": config.kernel,
        "head": config.heads,
        "feature_size": config.num_bins,
        "vocab_size": config.vocabulary_size,
        "decoding_window": config.window,
        "encoder": "conformer",
        "decoder": "bitransformer",
        "subsampling_rate": config.subsampling,
        "right_context": config.context - 1,
        "sos_symbol": SOS_EOS_ID,
        "eos_symbol": SOS_EOS_ID,
        "is_bidirectional_decoder": int(config.reverse_weight > 0),
    }
