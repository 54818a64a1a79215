"""Zipformer's activations without their logarithm: the same numbers, shifts in biases, and nothing else is touched."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.convert.depthwise import as_products
from engines.convert.swoosh import simplify_swoosh
from engines.describe import inspect
from engines.ort import OrtModel, OrtOptions
from tests.engines.test_transducers import MODELS

KINDS = {"SwooshL": (4.0, 0.08, 0.035), "SwooshR": (1.0, 0.08, 0.313261687)}
SHORT = Counter({"Add": 5, "Mul": 4, "Sub": 1, "LeakyRelu": 1, "Abs": 1, "Sigmoid": 1})
"""Operators of an activation whose shift a bias has taken over."""

Array = np.ndarray


def swoosh(kind: str, *, x: str = "x", one_operator: bool = False) -> tuple[list[onnx.NodeProto], dict[str, float]]:
    """x -> out as torch exports icefall's activation in inference form, or with the operator Softplus."""
    shift, slope, offset = KINDS[kind]
    constants = {"shift": shift, "slope": slope, "offset": offset, "zero": 0.0, "one": 1.0}
    eight = [
        ("Max", ["z", "zero"], "top"),
        ("Sub", ["zero", "z"], "distance"),
        ("Abs", ["distance"], "abs"),
        ("Neg", ["abs"], "neg"),
        ("Exp", ["neg"], "exp"),
        ("Add", ["one", "exp"], "sum"),
        ("Log", ["sum"], "log"),
        ("Add", ["top", "log"], "soft"),
    ]
    nodes = [
        ("Sub", [x, "shift"], "z"),
        *([("Softplus", ["z"], "soft")] if one_operator else eight),
        ("Mul", [x, "slope"], "tilt"),
        ("Sub", ["soft", "tilt"], "tilted"),
        ("Sub", ["tilted", "offset"], "out"),
    ]
    return [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes], constants


def model(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], width: int | str = "N", also: tuple[str, ...] = ()
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "swoosh",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["T", width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("out", *also)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def alone(kind: str, *, one_operator: bool = False, also: tuple[str, ...] = (), **other: float) -> onnx.ModelProto:
    nodes, constants = swoosh(kind, x="in", one_operator=one_operator)
    return model(nodes, {name: np.float32(value) for name, value in (constants | other).items()}, also=also)


def behind_a_layer(kind: str, quantised: bool, also: tuple[str, ...] = ()) -> onnx.ModelProto:
    """A linear layer before the activation, in float32 or as the runtime's dynamic quantisation writes it."""
    random = np.random.default_rng(0)
    nodes, constants = swoosh(kind)
    weights: dict[str, Array] = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    weights["bias"] = random.standard_normal(6).astype(np.float32)
    if quantised:
        weights |= {"w": random.integers(-127, 128, (5, 6), dtype=np.int8), "w_zero": np.int8(0)}
        weights["w_scale"] = np.float32(0.02)
        layer = [
            helper.make_node("DynamicQuantizeLinear", ["in"], ["q", "q_scale", "q_zero"]),
            helper.make_node("MatMulInteger", ["q", "w", "q_zero", "w_zero"], ["whole"]),
            helper.make_node("Cast", ["whole"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["q_scale", "w_scale"], ["scale"]),
            helper.make_node("Mul", ["real", "scale"], ["product"]),
        ]
    else:
        weights["w"] = random.standard_normal((5, 6)).astype(np.float32)
        layer = [helper.make_node("MatMul", ["in", "w"], ["product"])]
    layer += [
        helper.make_node("Add", ["bias", "product"], ["biased"]),
        helper.make_node("Transpose", ["biased"], ["x"], perm=[1, 0]),
    ]
    return model(layer + nodes, weights, 5, also)


def run(given: onnx.ModelProto, values: Array) -> Array:
    session = onnxruntime.InferenceSession(given.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Array = session.run(["out"], {"in": values})[0]
    return found


def operators(given: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in given.graph.node)


@pytest.mark.parametrize("one_operator", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_activation_is_the_same_without_its_logarithm(kind: str, one_operator: bool) -> None:
    before, after = alone(kind, one_operator=one_operator), alone(kind, one_operator=one_operator)
    assert simplify_swoosh(after.graph) == 1
    assert operators(after) == SHORT + Counter(["Sub"])
    random = np.random.default_rng(0)
    noise = [random.standard_normal(50_000) * scale for scale in (1.0, 10.0, 1000.0)]
    x = np.concatenate([np.linspace(-30, 30, 100_001), *noise, [-1e30, 0.0, 1e30]]).astype(np.float32)[np.newaxis]
    shift, slope, offset = KINDS[kind]
    exact = np.logaddexp(0.0, x.astype(np.float64) - shift) - slope * x.astype(np.float64) - offset
    np.testing.assert_allclose(run(after, x), exact, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bias_of_the_layer_before_takes_over_the_shift(kind: str, quantised: bool) -> None:
    before, after = behind_a_layer(kind, quantised), behind_a_layer(kind, quantised)
    layer = operators(before) - operators(alone(kind))
    assert simplify_swoosh(after.graph) == 1
    assert operators(after) == layer + SHORT
    values = np.random.default_rng(1).standard_normal((40, 5)).astype(np.float32) * 3
    np.testing.assert_allclose(run(after, values), run(before, values), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("read", ["x", "biased", "product"])
def test_a_bias_that_somebody_else_reads_keeps_its_value(read: str) -> None:
    """Values before the bias may be read by others; those behind it must not be, or the shift stays."""
    before, after = (behind_a_layer("SwooshR", False, also=(read,)) for _ in range(2))
    assert simplify_swoosh(after.graph) == 1
    assert operators(after)["Sub"] == (1 if read == "product" else 2)
    values = np.random.default_rng(1).standard_normal((40, 5)).astype(np.float32) * 3
    np.testing.assert_allclose(run(after, values), run(before, values), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("other", [{"one": 2.0}, {"zero": 0.5}, {"slope": 0.9}, {"also": ("soft",)}, {"also": ("z",)}])
def test_what_only_looks_like_one_is_left_alone(other: dict[str, float]) -> None:
    given = alone("SwooshL", **other)  # type: ignore[arg-type]
    assert simplify_swoosh(given.graph) == 0
    assert given == alone("SwooshL", **other)  # type: ignore[arg-type]


def test_a_whole_encoder_says_the_same_without_a_softplus() -> None:
    path = inspect(MODELS / "k2").streaming.encoder
    rewritten = as_products(path)
    found, kept = operators(onnx.load(path)), operators(onnx.load_from_string(rewritten))
    assert (found["Softplus"], kept["Softplus"], kept["LeakyRelu"]) == (14, 0, 14)
    assert kept["Sub"] == found["Sub"] - 2 * 14, "every shift went into a bias"
    old, new = OrtModel(path, OrtOptions()), OrtModel(path, OrtOptions(), rewritten)
    random = np.random.default_rng(0)
    feeds = {}
    for name, info in old.inputs.items():
        shape = [size if isinstance(size, int) else 3 for size in info.shape]
        feeds[name] = (random.standard_normal(shape) if info.is_float else np.zeros(shape)).astype(info.dtype)
    wanted, got = old.run(feeds), new.run(feeds)
    for name, value in wanted.items():
        assert np.abs(got[name] - value).max() < 1e-3, name
