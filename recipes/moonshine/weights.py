"""Moonshine tiny's encoder weights, out of its 8-bit ONNX file: npm `@moonshine-ai/moonshine-js` 0.1.29, MIT licence.

The file stores matrices for MatMulInteger as (value - zero point) * scale, convolutions as value * scale + offset.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

NUM_LAYERS = 6
MATRICES = ("query", "key", "value", "output", "expand", "contract")


def encoder_weights(path: Path) -> dict[str, np.ndarray]:
    """Float32 arrays by our names; matrices are (out, in), as torch.nn.Linear keeps them."""
    graph = onnx.load(path).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    integer = [node.input[1] for node in graph.node if node.op_type == "MatMulInteger"]
    if len(integer) != NUM_LAYERS * len(MATRICES):
        raise ValueError(f"{path}: {len(integer)} integer matrices, expected {NUM_LAYERS * len(MATRICES)}")
    weights = _convolutions(stored)
    for layer in range(NUM_LAYERS):
        for position, name in enumerate(MATRICES):
            base = integer[layer * len(MATRICES) + position].removesuffix("_quantized")
            weights[f"layers.{layer}.{name}.weight"] = dequantised(stored, base).T
        for ours, theirs in (("expand", "mlp.fc1"), ("contract", "mlp.fc2")):
            weights[f"layers.{layer}.{ours}.bias"] = stored[f"layers.{layer}.{theirs}.bias"]
        for ours, theirs in (("attention_norm", "input_layernorm"), ("feed_forward_norm", "post_attention_layernorm")):
            weights[f"layers.{layer}.{ours}.weight"] = stored[f"layers.{layer}.{theirs}.weight"]
    weights["norm.weight"] = stored["layer_norm.weight"]
    weights["inverse_frequencies"] = stored["/rotary_emb/Cast_1_output_0"].reshape(-1)
    return {name: np.array(value, np.float32) for name, value in weights.items()}


def dequantised(stored: dict[str, np.ndarray], base: str) -> np.ndarray:
    """A matrix stored for MatMulInteger, or an embedding, in float32."""
    values = stored[base + "_quantized"].astype(np.float32)
    return (values - stored[base + "_zero_point"].astype(np.float32)) * stored[base + "_scale"]


def _convolutions(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    weights = {}
    for name in ("conv1", "conv2", "conv3"):
        base = f"{name}.weight"
        values = stored[base + "_quantized"].astype(np.float32)
        weights[base] = values * stored[base + "_scale"] + stored[base + "_zero_point"]
        if f"{name}.bias" in stored:
            weights[f"{name}.bias"] = stored[f"{name}.bias"]
    weights["group_norm.weight"] = stored["onnx::Mul_1488"].reshape(-1)
    weights["group_norm.bias"] = stored["onnx::Add_1489"].reshape(-1)
    return weights
