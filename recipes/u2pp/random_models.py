"""Random-weight models in every family: `python -m recipes.u2pp.random_models --help`.

`--preset tiny` makes the graphs of tests/data/models; the others are real sizes for benchmarks.
All families get the same weights, so their outputs can be compared.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from recipes.u2pp import export_cpu, export_gpu, export_sherpa
from recipes.u2pp.checkpoint import random_model
from recipes.u2pp.config import ModelConfig
from recipes.u2pp.half import to_half
from recipes.u2pp.model import Model, num_parameters
from recipes.u2pp.onnx_files import offline_config, streaming_config, write_yaml

_PIECES = [
    *("\u2581", "\u2581A", "\u2581THE", "\u2581TO", "\u2581S", "\u2581B"),
    *("E", "T", "A", "O", "I", "N", "S", "R", "H", "L", "D", "U", "C", "M", "ING", "ER", "P", "F", "G", "W", "Y"),
]
_TINY = ModelConfig(
    vocabulary_size=30, subsampling=4, front_channels=(8, 8), dim=32, heads=2, feed_forward=64, layers=2, kernel=5,
    decoder_feed_forward=64, decoder_layers=1, reverse_layers=1, chunk=4, left_chunks=2,
)  # fmt: skip
PRESETS = {
    "tiny": _TINY,
    "tiny8": replace(_TINY, subsampling=8, front_channels=(8, 8, 8), chunk=2),
    "english": ModelConfig(vocabulary_size=320),
    "aishell2": ModelConfig(
        vocabulary_size=4233, subsampling=4, front_channels=(256, 256), dim=256, heads=4, feed_forward=2048, layers=12,
        decoder_feed_forward=2048, decoder_layers=3, reverse_layers=3, chunk=16, left_chunks=5,
    ),
}  # fmt: skip


def units_for(config: ModelConfig) -> list[str]:
    """Special units, a few English pieces, then numbered ones up to the vocabulary's size."""
    pieces = ["<blank>", "<unk>", "<sos/eos>", *_PIECES]
    return [*pieces, *(f"U{index}" for index in range(len(pieces), config.vocabulary_size))]


def _gpu_family(model: Model, units: list[str], folder: Path, streaming: bool, half: bool) -> None:
    """encoder.onnx, decoder.onnx, side files, and optionally both graphs in float16."""
    (export_gpu.export_streaming if streaming else export_gpu.export_offline)(model, folder / "encoder.onnx")
    export_gpu.export_decoder(model, folder / "decoder.onnx")
    export_gpu.write_side_files(folder, model, units, streaming)
    if not half:
        return
    twin = folder.with_name(folder.name + "-fp16")
    export_gpu.write_side_files(twin, model, units, streaming)
    settings = streaming_config(model.config, True) if streaming else offline_config(model.config, True)
    write_yaml(twin / "config.yaml", settings)
    for name in ("encoder", "decoder"):
        to_half(folder / f"{name}.onnx", twin / f"{name}_fp16.onnx")


def _quantise_w3(folder: Path) -> None:
    """WeNet's own dynamic quantisation: `<name>.quant.onnx` beside each graph."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)
    for name in ("encoder", "ctc", "decoder"):
        quantize_dynamic(folder / f"{name}.onnx", folder / f"{name}.quant.onnx", weight_type=QuantType.QUInt8)


def main() -> None:
    """Write the wanted families of one preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--families", default="w1,w2,w3,w4", help="any of w1,w2,w3,w4")
    parser.add_argument("--variants", action="store_true", help="also float16 (w1, w2) and int8 (w3) graphs")
    parser.add_argument("--suffix", default="", help="appended to the folders' names")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    for name in ("chunk", "left_chunks", "layers", "vocabulary_size"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, help="instead of the preset's")
    arguments = parser.parse_args()
    changed = {n: getattr(arguments, n) for n in ("chunk", "left_chunks", "layers", "vocabulary_size")}
    config = replace(PRESETS[arguments.preset], **{n: value for n, value in changed.items() if value is not None})
    model, units = random_model(config, arguments.seed), units_for(config)
    families, root = arguments.families.split(","), arguments.output
    for name, streaming in (("w1", False), ("w2", True)):
        if name in families:
            _gpu_family(model, units, root / (name + arguments.suffix), streaming, arguments.variants)
    if "w3" in families:
        export_cpu.export_all(model, units, root / ("w3" + arguments.suffix))
        if arguments.variants:
            _quantise_w3(root / ("w3" + arguments.suffix))
    if "w4" in families:
        export_sherpa.export_streaming(model, units, root / ("w4-streaming" + arguments.suffix))
        export_sherpa.export_offline(model, units, root / ("w4-offline" + arguments.suffix))
    print(f"encoder {num_parameters(model.encoder)}, decoders {num_parameters(model.decoder)} parameters")


if __name__ == "__main__":
    main()
