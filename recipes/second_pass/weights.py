"""Moonshine tiny's decoder weights, out of its 8-bit ONNX file: npm `@moonshine-ai/moonshine-js` 0.1.29, MIT."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from recipes.moonshine.weights import NUM_LAYERS, dequantised

_NAMES = {
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.dense": "output",
    "encoder_attn.q_proj": "cross_query",
    "encoder_attn.k_proj": "cross_key",
    "encoder_attn.v_proj": "cross_value",
    "encoder_attn.dense": "cross_output",
    "mlp.up_proj": "expand",
    "mlp.down_proj": "contract",
    "input_layernorm": "self_norm",
    "post_attention_layernorm": "cross_norm",
    "final_layernorm": "feed_forward_norm",
}


def decoder_weights(path: Path) -> dict[str, np.ndarray]:
    """Float32 arrays by the names of recipes.second_pass.decoder, and `frequencies` of the rotary positions.

    `path` is decoder_model_merged.onnx, whose branch without a past names its integer matrices' nodes by layer.
    """
    outer = onnx.load(path).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in outer.initializer}
    (graph,) = (attribute.g for attribute in outer.node[0].attribute if attribute.name == "else_branch")
    weights = {"embedding.weight": dequantised(stored, "model.decoder.embed_tokens.weight_merged_0")}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            name = node.name.removeprefix("/model/decoder/").removesuffix("/MatMul_quant").replace("/", ".")
            weights[f"{_ours(name)}.weight"] = dequantised(stored, node.input[1].removesuffix("_quantized")).T
    for name, value in stored.items():
        if name.startswith("model.decoder.") and name.endswith(("norm.weight_merged_0", "bias_merged_0")):
            layer, kind = name.removeprefix("model.decoder.").removesuffix("_merged_0").rsplit(".", 1)
            weights[f"{_ours(layer)}.{kind}"] = value
    weights["frequencies"] = stored["/model/decoder/rotary_emb/Cast_1_output_0"].reshape(-1)
    if len(weights) != 15 * NUM_LAYERS + 3:
        raise ValueError(f"{path}: {len(weights)} weights, expected {15 * NUM_LAYERS + 3}")
    return {name: np.array(value, np.float32) for name, value in weights.items()}


def _ours(name: str) -> str:
    """layers.0.self_attn.q_proj -> layers.0.query."""
    if not name.startswith("layers."):
        return name
    _, number, rest = name.split(".", 2)
    return f"layers.{number}.{_NAMES[rest]}"
