"""Speaker graphs with random weights, one folder per family: `python -m recipes.speaker.tiny_models OUTPUT`.

One convolution of stride 2, mean and unbiased deviation over time, one matrix: enough to tell loudness contours and
colours of sound apart, to be undefined below three frames, and to show any mix of rows or lengths.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 24
KERNEL = 3
BINS = 80
OPSET = 17


@dataclass(frozen=True)
class Tiny:
    """One family's names; `metadata` as sherpa-onnx's conversion writes it."""

    input: str
    output: str
    dimension: int
    mean_vector: bool = False
    metadata: Mapping[str, str] | None = None


FAMILIES = {
    "speaker-wespeaker": Tiny("feats", "embs", 32, mean_vector=True),
    "speaker-3dspeaker": Tiny("feature", "embedding", 24),
    "speaker-sherpa": Tiny(
        "x", "embedding", 16,
        metadata={
            "framework": "3d-speaker", "language": "English", "sample_rate": "16000", "output_dim": "16",
            "normalize_samples": "1", "feature_normalize_type": "global-mean",
        },
    ),
}  # fmt: skip
RUNTIME_SETTINGS = {
    "FrameExtractionOptions": {"sample_freq": 16000, "frame_shift_ms": 10, "frame_length_ms": 25, "dither": 0.0},
    "MelBanksOptions": {"num_bins": BINS},
    "use_power": True,
}
"""What 3D-Speaker ships as its runtime's fbank_config.json."""


def graph(tiny: Tiny, seed: int = 5) -> onnx.ModelProto:
    """Build the graph: conv, ReLU, statistics, matrix, and less the mean vector where the family has one inside."""
    rng = np.random.default_rng(seed)
    weights = {
        "conv": rng.standard_normal((CHANNELS, BINS, KERNEL)) / np.sqrt(BINS * KERNEL),
        "matrix": rng.standard_normal((2 * CHANNELS, tiny.dimension)) / np.sqrt(CHANNELS),
        "mean_vec": rng.standard_normal(tiny.dimension) * 0.1 * tiny.mean_vector,
    }
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    initializers.append(numpy_helper.from_array(np.array(1.0, np.float32), "one"))
    initializers.append(numpy_helper.from_array(np.array([2], np.int64), "time"))
    node = helper.make_node
    nodes = [
        node("Transpose", [tiny.input], ["bins_first"], perm=[0, 2, 1]),
        node("Conv", ["bins_first", "conv"], ["conved"], strides=[2], pads=[1, 1]),
        node("Relu", ["conved"], ["rows"]),
        node("ReduceMean", ["rows"], ["mean"], axes=[2], keepdims=1),
        node("Sub", ["rows", "mean"], ["centred"]),
        node("ReduceSumSquare", ["centred"], ["squares"], axes=[2], keepdims=1),
        node("Shape", ["rows"], ["length"], start=2, end=3),
        node("Cast", ["length"], ["count"], to=TensorProto.FLOAT),
        node("Sub", ["count", "one"], ["freedom"]),
        node("Div", ["squares", "freedom"], ["variance"]),
        node("Sqrt", ["variance"], ["deviation"]),
        node("Concat", ["mean", "deviation"], ["statistics"], axis=1),
        node("Squeeze", ["statistics", "time"], ["pooled"]),
        node("MatMul", ["pooled", "matrix"], ["projected"]),
        node("Sub", ["projected", "mean_vec"], [tiny.output]),
    ]
    inputs = [helper.make_tensor_value_info(tiny.input, TensorProto.FLOAT, ["B", "T", BINS])]
    outputs = [helper.make_tensor_value_info(tiny.output, TensorProto.FLOAT, ["B", tiny.dimension])]
    body = helper.make_graph(nodes, "tiny-speaker", inputs, outputs, initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, dict(tiny.metadata or {}))
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Write every family's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    for name, tiny in FAMILIES.items():
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(graph(tiny), folder / "model.onnx")
    settings = json.dumps(RUNTIME_SETTINGS, indent=2) + "\n"
    (output / "speaker-3dspeaker" / "fbank_config.json").write_text(settings, encoding="utf-8")


if __name__ == "__main__":
    main()
