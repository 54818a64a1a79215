"""Tiny ONNX graphs of all four families, built here, with one set of random weights: a convolution that subsamples,
one layer of attention over a cache, one causal convolution with a cache, a CTC head and attention decoders.

What they compute is small, but every tensor matters: mixed rows, wrong masks, lost caches all change the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT32, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
)


@dataclass(frozen=True)
class Mini:
    """Sizes of the tiny model."""

    subsampling: int = 4
    context: int = 7
    chunk: int = 4
    left: int = 2
    bins: int = 80
    dim: int = 8
    kernel: int = 3
    vocab: int = 12
    beam: int = 5
    positions: int = 64
    ctc_weight: float = 0.5
    reverse_weight: float = 0.3
    seed: int = 0

    @property
    def window(self) -> int:
        return (self.chunk - 1) * self.subsampling + self.context

    @property
    def cache(self) -> int:
        return self.chunk * max(self.left, 0)

    def weights(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)

        def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
            return (rng.standard_normal(shape) * scale).astype(np.float32)

        dim, vocab = self.dim, self.vocab
        return {
            # Log-mels lie around 10 and differ little: keep the activations near 1.
            "embed": normal(dim, self.bins, self.context, scale=0.05 / np.sqrt(self.bins * self.context)),
            "table": normal(self.positions, dim, scale=0.5),
            "q": normal(dim, dim, scale=0.5),
            "kv": normal(dim, 2 * dim, scale=0.5),
            "conv": normal(dim, 1, self.kernel, scale=0.6),
            "head": normal(dim, vocab, scale=1.5),
            "token": normal(vocab, dim),
            "out": normal(dim, vocab),
            "r_out": normal(dim, vocab),
        }


@dataclass
class Builder:
    """Collects nodes; every method returns the name of its result."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    count: int = 0

    def const(self, value: Any, dtype: Any = np.int64) -> str:
        self.count += 1
        name = f"const_{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, value: np.ndarray) -> str:
        return self.const(value, np.float32)

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        self.count += 1
        names = [f"{kind.lower()}_{self.count}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def rename(self, value: str, name: str) -> None:
        self.nodes.append(helper.make_node("Identity", [value], [name]))

    def size(self, value: str, axis: int) -> str:
        """Length of an axis as a (1,) int64."""
        return self.op("Slice", self.op("Shape", value), self.const([axis]), self.const([axis + 1]))

    def scalar(self, value: str) -> str:
        return self.op("Squeeze", value)

    def arange(self, count: str) -> str:
        return self.op("Range", self.const(0), count, self.const(1))

    def tail(self, value: str, count: str, axis: int) -> str:
        """Last `count` (1,) entries of an axis."""
        length = self.size(value, axis)
        start = self.op("Max", self.op("Sub", length, count), self.const([0]))
        return self.op("Slice", value, start, length, self.const([axis]))

    def transpose(self, value: str, *perm: int) -> str:
        return self.op("Transpose", value, perm=list(perm))


def save(
    path: Path,
    builder: Builder,
    inputs: Mapping[str, tuple[int, Sequence[Any]]],
    outputs: Mapping[str, tuple[int, Sequence[Any] | None]],
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    def value(name: str, kind: int, shape: Sequence[Any] | None) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        builder.nodes,
        "mini",
        [value(name, *spec) for name, spec in inputs.items()],
        [value(name, *spec) for name, spec in outputs.items()],
        builder.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {key: str(item) for key, item in (metadata or {}).items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def _embed(b: Builder, mini: Mini, features: str, first_position: str) -> str:
    """Features (B, T, F) to (B, T', D); `first_position` is (B, 1) or (1, 1)."""
    weights = mini.weights()
    rows = b.op("Conv", b.transpose(features, 0, 2, 1), b.weight(weights["embed"]), strides=[mini.subsampling])
    hidden = b.transpose(rows, 0, 2, 1)
    places = b.op("Add", first_position, b.arange(b.scalar(b.size(hidden, 1))))
    return b.op("Add", hidden, b.op("Gather", b.weight(weights["table"]), places))


def _attend(b: Builder, mini: Mini, hidden: str, cache: str | None, mask: str) -> tuple[str, str]:
    """Attend from (B, T, D) to [cache | own]; `mask` is 1 where a key counts. Return output and all keys and values."""
    weights = mini.weights()
    own = b.op("MatMul", hidden, b.weight(weights["kv"]))
    both = own if cache is None else b.op("Concat", cache, own, axis=1)
    keys, values = _halves(b, mini, both)
    scores = b.op("MatMul", b.op("MatMul", hidden, b.weight(weights["q"])), b.transpose(keys, 0, 2, 1))
    hide = b.op("Mul", b.op("Sub", b.const(1.0, np.float32), mask), b.const(-1e4, np.float32))
    attention = b.op("Softmax", b.op("Add", scores, hide), axis=-1)
    return b.op("Add", hidden, b.op("MatMul", attention, values)), both


def _halves(b: Builder, mini: Mini, both: str) -> tuple[str, str]:
    keys = b.op("Slice", both, b.const([0]), b.const([mini.dim]), b.const([2]))
    values = b.op("Slice", both, b.const([mini.dim]), b.const([2 * mini.dim]), b.const([2]))
    return keys, values


def _convolve(b: Builder, mini: Mini, hidden: str, cache: str) -> tuple[str, str]:
    """Causal depthwise convolution of (B, T, D) behind a cache (B, D, K-1); return output and the next cache."""
    joined = b.op("Concat", cache, b.transpose(hidden, 0, 2, 1), axis=2)
    rows = b.op("Conv", joined, b.weight(mini.weights()["conv"]), group=mini.dim)
    return b.op("Add", hidden, b.transpose(rows, 0, 2, 1)), b.tail(joined, b.const([mini.kernel - 1]), 2)


def _log_probs(b: Builder, mini: Mini, hidden: str) -> str:
    return b.op("LogSoftmax", b.op("MatMul", hidden, b.weight(mini.weights()["head"])), axis=-1)


def _top_k(b: Builder, mini: Mini, log_probs: str) -> tuple[str, str]:
    values, ids = b.op("TopK", log_probs, b.const([mini.beam]), outputs=2, axis=-1)
    return values, ids


def _encoder_lengths(b: Builder, mini: Mini, lengths: str) -> str:
    """max(0, (n - context) // subsampling + 1), as int64."""
    wide = b.op("Cast", lengths, to=INT64)
    beyond = b.op("Add", b.op("Sub", wide, b.const(mini.context)), b.const(mini.subsampling))
    return b.op("Div", b.op("Max", beyond, b.const(0)), b.const(mini.subsampling))


def _before(b: Builder, count: str, lengths: str) -> str:
    """Float mask (B, 1, count): 1 for places before each row's length."""
    places = b.op("Unsqueeze", b.arange(count), b.const([0]))
    return b.op(
        "Unsqueeze",
        b.op("Cast", b.op("Less", places, b.op("Unsqueeze", lengths, b.const([1]))), to=FLOAT),
        b.const([1]),
    )


def w2(path: Path, mini: Mini = Mini(), *, batch: Any = "B", full: bool = False, half: bool = False) -> Path:
    """WeNet's streaming GPU encoder; `full` returns all log-probs, `half` makes every float float16."""
    b, real = Builder(), HALF if half else FLOAT
    names = {name: b.op("Cast", name, to=FLOAT) for name in ("chunk_xs", "att_cache", "cnn_cache", "cache_mask")}
    hidden = _embed(b, mini, names["chunk_xs"], "offset")
    cache = b.op("Squeeze", names["att_cache"], b.const([1, 2]))
    lengths = _encoder_lengths(b, mini, "chunk_lens")
    mask = b.op("Concat", names["cache_mask"], _before(b, b.scalar(b.size(hidden, 1)), lengths), axis=2)
    attended, both = _attend(b, mini, hidden, cache, mask)
    output, next_conv = _convolve(b, mini, attended, b.op("Squeeze", names["cnn_cache"], b.const([1])))
    scores = _log_probs(b, mini, output)

    def result(value: str, name: str) -> None:
        b.rename(b.op("Cast", value, to=real), name)

    outputs: dict[str, tuple[int, Sequence[Any] | None]] = {}
    if full:
        result(scores, "ctc_log_probs")
        outputs["ctc_log_probs"] = (real, ["B", "C", "V"])
    else:
        values, ids = _top_k(b, mini, scores)
        result(values, "log_probs")
        b.rename(ids, "log_probs_idx")
        outputs.update({"log_probs": (real, ["B", "C", "k"]), "log_probs_idx": (INT64, ["B", "C", "k"])})
    result(output, "chunk_out")
    b.rename(b.op("Cast", b.op("Div", "chunk_lens", b.const(mini.subsampling, np.int32)), to=INT32), "chunk_out_lens")
    b.rename(b.op("Add", "offset", b.const(mini.chunk)), "r_offset")
    kept = b.const([mini.cache])
    result(b.op("Unsqueeze", b.tail(both, kept, 1), b.const([1, 2])), "r_att_cache")
    result(b.op("Unsqueeze", next_conv, b.const([1])), "r_cnn_cache")
    result(b.tail(mask, kept, 2), "r_cache_mask")
    outputs.update(
        {
            "chunk_out": (real, ["B", "C", "D"]),
            "chunk_out_lens": (INT32, ["B"]),
            "r_offset": (INT64, ["B", 1]),
            "r_att_cache": (real, ["B", "l", "h", "t", "d"]),
            "r_cnn_cache": (real, ["B", "l", "d2", "k2"]),
            "r_cache_mask": (real, ["B", 1, "t2"]),
        }
    )
    inputs = {
        "chunk_xs": (real, [batch, mini.window, mini.bins]),
        "chunk_lens": (INT32, [batch]),
        "offset": (INT64, [batch, 1]),
        "att_cache": (real, [batch, 1, 1, mini.cache, 2 * mini.dim]),
        "cnn_cache": (real, [batch, 1, mini.dim, mini.kernel - 1]),
        "cache_mask": (real, [batch, 1, mini.cache]),
    }
    return save(path, b, inputs, outputs)


def _whole(b: Builder, mini: Mini, features: str, lengths: str) -> tuple[str, str]:
    """Encode recordings as the streaming graphs would with all of the past: frames see their own chunk and before."""
    hidden = _embed(b, mini, features, b.const([[0]]))
    count = b.scalar(b.size(hidden, 1))
    out_lengths = _encoder_lengths(b, mini, lengths)
    chunks = b.op("Div", b.arange(count), b.const(mini.chunk))
    past = b.op("GreaterOrEqual", b.op("Unsqueeze", chunks, b.const([1])), b.op("Unsqueeze", chunks, b.const([0])))
    mask = b.op("Mul", b.op("Cast", past, to=FLOAT), _before(b, count, out_lengths))
    attended, _ = _attend(b, mini, hidden, None, mask)
    empty_shape = b.op("Concat", b.size(hidden, 0), b.const([mini.dim, mini.kernel - 1]), axis=0)
    output, _ = _convolve(b, mini, attended, b.op("ConstantOfShape", empty_shape))
    return output, out_lengths


def w1(path: Path, mini: Mini = Mini(), *, batch: Any = "B", full: bool = False) -> Path:
    """WeNet's offline GPU encoder."""
    b = Builder()
    output, lengths = _whole(b, mini, "speech", "speech_lengths")
    scores = _log_probs(b, mini, output)
    b.rename(output, "encoder_out")
    b.rename(b.op("Cast", lengths, to=INT32), "encoder_out_lens")
    outputs: dict[str, tuple[int, Sequence[Any] | None]] = {
        "encoder_out": (FLOAT, ["B", "T_OUT", mini.dim]),
        "encoder_out_lens": (INT32, ["B"]),
    }
    if full:
        b.rename(scores, "ctc_log_probs")
        outputs["ctc_log_probs"] = (FLOAT, ["B", "T_OUT", mini.vocab])
    else:
        values, ids = _top_k(b, mini, scores)
        b.rename(values, "beam_log_probs")
        b.rename(ids, "beam_log_probs_idx")
        outputs["beam_log_probs"] = (FLOAT, ["B", "T_OUT", mini.beam])
        outputs["beam_log_probs_idx"] = (INT64, ["B", "T_OUT", mini.beam])
    return save(path, b, {"speech": (FLOAT, [batch, "T", mini.bins]), "speech_lengths": (INT32, [batch])}, outputs)


def w4_offline(path: Path, mini: Mini = Mini(), metadata: Mapping[str, Any] | None = None) -> Path:
    """sherpa-onnx's offline WeNet CTC model."""
    b = Builder()
    output, lengths = _whole(b, mini, "x", "x_lens")
    b.rename(_log_probs(b, mini, output), "log_probs")
    b.rename(lengths, "log_probs_lens")
    said = {"model_type": "wenet_ctc", "vocab_size": mini.vocab, "subsampling_factor": mini.subsampling}
    return save(
        path,
        b,
        {"x": (FLOAT, ["N", "T", mini.bins]), "x_lens": (INT64, ["N"])},
        {"log_probs": (FLOAT, ["N", "T_OUT", mini.vocab]), "log_probs_lens": (INT64, ["N"])},
        {**said, **(metadata or {})},
    )


def _cpu_metadata(mini: Mini, **changes: Any) -> dict[str, Any]:
    return {
        "chunk_size": mini.chunk,
        "left_chunks": mini.left,
        "output_size": mini.dim,
        "num_blocks": 1,
        "cnn_module_kernel": mini.kernel,
        "head": 1,
        "feature_size": mini.bins,
        "vocab_size": mini.vocab,
        "subsampling_rate": mini.subsampling,
        "right_context": mini.context - 1,
        "sos_symbol": mini.vocab - 1,
        "eos_symbol": mini.vocab - 1,
        "is_bidirectional_decoder": 1,
        **changes,
    }


def _one_stream(b: Builder, mini: Mini, names: Mapping[str, str]) -> tuple[str, str, str]:
    """Forward one window as WeNet's forward_chunk does; return output, next attention cache, next convolution cache."""
    hidden = _embed(b, mini, names["features"], b.op("Reshape", "offset", b.const([1, 1])))
    cache = b.op("Squeeze", names["att_cache"], b.const([0]))
    if mini.left > 0:
        mask = b.op("Cast", names["mask"], to=FLOAT)
        keys = b.op("Add", b.size(cache, 1), b.size(hidden, 1))
        mask = b.op("Slice", mask, b.const([0]), keys, b.const([2]))
    else:
        mask = b.const(1.0, np.float32)
    attended, both = _attend(b, mini, hidden, cache, mask)
    if mini.left > 0:
        # The live input, as in WeNet: a wrong value shows.
        kept = b.tail(both, b.op("Reshape", "required_cache_size", b.const([1])), 1)
    else:
        kept = both if mini.left < 0 else b.tail(both, b.const([0]), 1)
    output, next_conv = _convolve(b, mini, attended, b.op("Squeeze", names["cnn_cache"], b.const([0])))
    return output, b.op("Unsqueeze", kept, b.const([0])), b.op("Unsqueeze", next_conv, b.const([0]))


def w3(folder: Path, mini: Mini = Mini(), **metadata: Any) -> Path:
    """WeNet's CPU encoder and CTC head; `left` -1 and 0 drop inputs as the exporter does. `chunk` -1: offline."""
    b = Builder()
    names = {"features": "chunk", "att_cache": "att_cache", "cnn_cache": "cnn_cache", "mask": "att_mask"}
    output, att, conv = _one_stream(b, mini, names)
    for value, name in ((output, "output"), (att, "r_att_cache"), (conv, "r_cnn_cache")):
        b.rename(value, name)
    inputs: dict[str, tuple[int, Sequence[Any]]] = {
        "chunk": (FLOAT, [1, "T", mini.bins]),
        "offset": (INT64, []),
        "att_cache": (FLOAT, [1, 1, "T_CACHE", 2 * mini.dim]),
        "cnn_cache": (FLOAT, [1, 1, mini.dim, mini.kernel - 1]),
    }
    if mini.left > 0:
        inputs["required_cache_size"] = (INT64, [])
        inputs["att_mask"] = (BOOL, [1, 1, mini.cache + mini.chunk])
    outputs = {"output": (FLOAT, [1, "T", mini.dim]), "r_att_cache": (FLOAT, [1, 1, "T_CACHE", 2 * mini.dim])}
    outputs["r_cnn_cache"] = (FLOAT, [1, 1, mini.dim, mini.kernel - 1])
    said = _cpu_metadata(mini, **metadata)
    save(folder / "encoder.onnx", b, inputs, outputs, said)
    head = Builder()
    head.rename(_log_probs(head, mini, "hidden"), "probs")
    hidden = {"hidden": (FLOAT, [1, "T", mini.dim])}
    save(folder / "ctc.onnx", head, hidden, {"probs": (FLOAT, [1, "T", mini.vocab])}, said)
    return folder


def w4_streaming(path: Path, mini: Mini = Mini(), **metadata: Any) -> Path:
    """sherpa-onnx's streaming WeNet CTC model."""
    b = Builder()
    names = {"features": "x", "att_cache": "attn_cache", "cnn_cache": "conv_cache", "mask": "attn_mask"}
    output, att, conv = _one_stream(b, mini, names)
    b.rename(_log_probs(b, mini, output), "log_probs")
    b.rename(att, "next_att_cache")
    b.rename(conv, "next_conv_cache")
    inputs = {
        "x": (FLOAT, [1, "T", mini.bins]),
        "offset": (INT64, [1]),
        "required_cache_size": (INT64, [1]),
        "attn_cache": (FLOAT, [1, 1, mini.cache, 2 * mini.dim]),
        "conv_cache": (FLOAT, [1, 1, mini.dim, mini.kernel - 1]),
        "attn_mask": (BOOL, [1, 1, mini.cache + mini.chunk]),
    }
    outputs = {"log_probs": (FLOAT, [1, "C", mini.vocab]), "next_att_cache": (FLOAT, [1, 1, "t", "d"])}
    outputs["next_conv_cache"] = (FLOAT, [1, 1, "d2", "k"])
    said = _cpu_metadata(mini, model_type="wenet_ctc", subsampling_factor=mini.subsampling, **metadata)
    return save(path, b, inputs, outputs, {key: value for key, value in said.items() if key != "subsampling_rate"})


def _decode(b: Builder, mini: Mini, hyps: str, context: str, weight: str) -> str:
    """Log-probs of the next token after each of `hyps` (..., L), with `context` (..., 1, D)."""
    weights = mini.weights()
    hidden = b.op("Tanh", b.op("Add", b.op("Gather", b.weight(weights["token"]), hyps), context))
    return b.op("LogSoftmax", b.op("MatMul", hidden, b.weight(weights[weight])), axis=-1)


def best_index_decoder(path: Path, mini: Mini = Mini(), *, bidirectional: bool = True, batch: Any = "B") -> Path:
    """The rescoring decoder of the GPU exports, weights inside."""
    b = Builder()
    mask = _before(b, b.scalar(b.size("encoder_out", 1)), b.op("Cast", "encoder_out_lens", to=INT64))
    total = b.op("MatMul", mask, "encoder_out")  # (B, 1, D)
    mean = b.op("Div", total, b.op("ReduceSum", mask, b.const([2]), keepdims=1))
    context = b.op("Unsqueeze", mean, b.const([1]))

    def attention(hyps: str, weight: str) -> str:
        inner = b.op("Slice", hyps, b.const([0]), b.const([-1]), b.const([2]))
        targets = b.op("Slice", hyps, b.const([1]), b.const([1 << 40]), b.const([2]))
        picked = b.op(
            "GatherElements",
            _decode(b, mini, inner, context, weight),
            b.op("Unsqueeze", targets, b.const([3])),
            axis=3,
        )
        lengths = b.op("Unsqueeze", b.op("Cast", "hyps_lens_sos", to=INT64), b.const([2]))
        places = b.arange(b.scalar(b.size(targets, 2)))
        counted = b.op("Cast", b.op("Less", places, lengths), to=FLOAT)
        return b.op("ReduceSum", b.op("Mul", b.op("Squeeze", picked, b.const([3])), counted), b.const([2]), keepdims=0)

    rho = mini.reverse_weight if bidirectional else 0.0
    score = b.op("Mul", attention("hyps_pad_sos_eos", "out"), b.const(1 - rho, np.float32))
    inputs: dict[str, tuple[int, Sequence[Any]]] = {
        "encoder_out": (FLOAT, [batch, "T", mini.dim]),
        "encoder_out_lens": (INT32, [batch]),
        "hyps_pad_sos_eos": (INT64, [batch, mini.beam, "T2"]),
        "hyps_lens_sos": (INT32, [batch, mini.beam]),
        "ctc_score": (FLOAT, [batch, mini.beam]),
    }
    if bidirectional:
        inputs["r_hyps_pad_sos_eos"] = (INT64, [batch, mini.beam, "T2"])
        score = b.op("Add", score, b.op("Mul", attention("r_hyps_pad_sos_eos", "r_out"), b.const(rho, np.float32)))
    score = b.op("Add", score, b.op("Mul", "ctc_score", b.const(mini.ctc_weight, np.float32)))
    b.rename(b.op("ArgMax", score, axis=1, keepdims=0), "best_index")
    return save(path, b, inputs, {"best_index": (INT64, ["B"])})


def scores_decoder(path: Path, mini: Mini = Mini(), *, bidirectional: bool = True, **metadata: Any) -> Path:
    """The CPU export's decoder: all log-probs of both directions."""
    b = Builder()
    mean = b.op("ReduceMean", "encoder_out", axes=[1], keepdims=1)  # (1, 1, D)
    b.rename(_decode(b, mini, "hyps", mean, "out"), "score")
    if bidirectional:
        places = b.arange(b.scalar(b.size("hyps", 1)))
        backwards = b.op("Max", b.op("Sub", b.op("Unsqueeze", "hyps_lens", b.const([1])), places), b.const(0))
        # Place 0 is the sentence start in both directions.
        backwards = b.op("Mul", backwards, b.op("Cast", b.op("Greater", places, b.const(0)), to=INT64))
        inside = b.op("Min", backwards, b.op("Sub", b.size("hyps", 1), b.const(1)))
        b.rename(_decode(b, mini, b.op("GatherElements", "hyps", inside, axis=1), mean, "r_out"), "r_score")
    else:
        b.rename(b.op("Identity", b.const(0.0, np.float32)), "r_score")
    inputs = {"hyps": (INT64, ["N", "L"]), "hyps_lens": (INT64, ["N"]), "encoder_out": (FLOAT, [1, "T", mini.dim])}
    outputs = {"score": (FLOAT, ["N", "L", mini.vocab]), "r_score": (FLOAT, None)}
    return save(path, b, inputs, outputs, _cpu_metadata(mini, **metadata))


def tree_decoder(path: Path, mini: Mini = Mini(), weight: str = "out") -> Path:
    """One direction over a prefix tree: log-probs of `labels` after the beginnings `parents`."""
    b = Builder()
    mean = b.op("ReduceMean", "encoder_out", axes=[0], keepdims=1)  # (1, D)
    places = b.op("Concat", *(b.op("Unsqueeze", name, b.const([1])) for name in ("parents", "labels")), axis=1)
    b.rename(b.op("GatherND", _decode(b, mini, "tokens", mean, weight), places), "scores")
    inputs: dict[str, tuple[int, Sequence[Any]]] = {
        "encoder_out": (FLOAT, ["T", mini.dim]),
        "tokens": (INT64, ["N"]),
        "depths": (INT64, ["N"]),
        "ancestors": (FLOAT, ["N", "N"]),
        "parents": (INT64, ["E"]),
        "labels": (INT64, ["E"]),
    }
    return save(path, b, inputs, {"scores": (FLOAT, ["E"])})


def add_trees(folder: Path, mini: Mini = Mini(), decoder: str = "", streaming: bool = True) -> Path:
    """Give a folder of `gpu_model` trees and the model.toml that names all its graphs, with more `decoder` keys."""
    tree_decoder(folder / "left_tree.onnx", mini, "out")
    tree_decoder(folder / "right_tree.onnx", mini, "r_out")
    half = "streaming" if streaming else "offline"
    (folder / "model.toml").write_text(
        f'[{half}]\nencoder = "encoder.onnx"\n[decoder]\npath = "decoder.onnx"\n'
        + (decoder or 'left_tree = "left_tree.onnx"\nright_tree = "right_tree.onnx"\n'),
        encoding="utf-8",
    )
    return folder


def add_offline(folder: Path, mini: Mini = Mini()) -> Path:
    """Give a folder of `add_trees` an offline half, and name it in its model.toml."""
    w1(folder / "whole.onnx", mini)
    with (folder / "model.toml").open("a", encoding="utf-8") as manifest:
        manifest.write('[offline]\nencoder = "whole.onnx"\n')
    return folder


def units(folder: Path, mini: Mini = Mini()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(ord("a") + index) for index in range(mini.vocab - 3)]
    pieces = ["<blank>", "<unk>", *letters, "<sos/eos>"]
    path = folder / "units.txt"
    path.write_text("".join(f"{piece} {index}\n" for index, piece in enumerate(pieces)), encoding="utf-8")
    return path


def gpu_model(folder: Path, mini: Mini = Mini(), *, streaming: bool = True, bidirectional: bool = True) -> Path:
    """A folder as `export_onnx_gpu.py` leaves it."""
    units(folder, mini)
    if streaming:
        w2(folder / "encoder.onnx", mini)
        keys = {
            "subsampling_rate": mini.subsampling,
            "context": mini.context,
            "decoding_chunk_size": mini.chunk,
            "num_decoding_left_chunks": mini.left,
            "beam_size": mini.beam,
            "feat_size": mini.bins,
            "decoding_window": mini.window,
        }
    else:
        w1(folder / "encoder.onnx", mini)
        keys = {"beam_size": mini.beam, "reverse_weight": -1.0, "ctc_weight": -1.0}
    (folder / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in keys.items()), encoding="utf-8")
    best_index_decoder(folder / "decoder.onnx", mini, bidirectional=bidirectional)
    (folder / "train.yaml").write_text(
        f"output_dim: {mini.vocab}\nmodel_conf:\n  ctc_weight: {mini.ctc_weight}\n  "
        f"reverse_weight: {mini.reverse_weight}\ndataset_conf:\n  fbank_conf:\n    num_mel_bins: {mini.bins}\n",
        encoding="utf-8",
    )
    return folder


def cpu_model(folder: Path, mini: Mini = Mini(), *, bidirectional: bool = True) -> Path:
    """A folder as `export_onnx_cpu.py` leaves it; chunk -1 and left -1 is an offline export."""
    units(folder, mini)
    w3(folder, mini)
    scores_decoder(folder / "decoder.onnx", mini, bidirectional=bidirectional)
    return folder


def with_left(mini: Mini, left: int) -> Mini:
    return replace(mini, left=left)


SECOND_PIECES = ("<unk>", "<s>", "</s>", "ab", "bc", "cde", "cd", *"abcdefghi")
SECOND_TOML = '[second_pass]\nmemory = "memory.onnx"\ndecoder = "second.onnx"\nunits = "second_units.txt"\n'


def second_weights(mini: Mini = Mini()) -> dict[str, np.ndarray]:
    """Weights of the second pass's decoder."""
    rng = np.random.default_rng(mini.seed + 7)
    token = rng.standard_normal((len(SECOND_PIECES), mini.dim)).astype(np.float32)
    return {"token": token, "out": rng.standard_normal((mini.dim, len(SECOND_PIECES))).astype(np.float32)}


def add_second_pass(folder: Path, mini: Mini = Mini(), more: str = "") -> Path:
    """Give a folder of `add_trees` a second pass, and name it in its model.toml."""
    add_second_pass_of(folder, mini)
    with (folder / "model.toml").open("a", encoding="utf-8") as manifest:
        manifest.write(SECOND_TOML + more)
    return folder


def add_second_pass_of(folder: Path, mini: Mini) -> None:
    """Write the graphs of a second pass, whose next token depends on all tokens before it and their places."""
    b = Builder()
    rows = b.op("Unsqueeze", "encoder_out", b.const([0, 1]))  # one layer, one head
    b.rename(rows, "keys")
    b.rename(rows, "values")
    logits = b.op("MatMul", "encoder_out", b.weight(mini.weights()["head"]))
    b.rename(b.op("LogSoftmax", logits, axis=-1), "ctc_log_probs")
    outputs: dict[str, tuple[int, Sequence[Any] | None]] = dict.fromkeys(
        ("keys", "values", "ctc_log_probs"), (FLOAT, None)
    )
    save(folder / "memory.onnx", b, {"encoder_out": (FLOAT, ["T", mini.dim])}, outputs)

    b, weights = Builder(), second_weights(mini)
    place = b.op("Unsqueeze", b.op("Cast", "depths", to=FLOAT), b.const([1]))
    scale = b.op("Add", b.const(1.0, np.float32), b.op("Mul", place, b.const(0.1, np.float32)))
    own = b.op("Mul", b.op("Gather", b.weight(weights["token"]), "tokens"), scale)
    rows = b.op("Unsqueeze", own, b.const([0, 1]))
    b.rename(rows, "keys")
    b.rename(rows, "values")
    known = b.op("Squeeze", b.op("Concat", "past_keys", rows, axis=2), b.const([0, 1]))
    heard = b.op("Squeeze", b.op("ReduceMean", "memory_values", axes=[2], keepdims=0), b.const([0]))
    hidden = b.op("Tanh", b.op("Add", b.op("MatMul", "seen", known), heard))
    b.rename(b.op("LogSoftmax", b.op("MatMul", hidden, b.weight(weights["out"])), axis=-1), "log_probs")
    inputs: dict[str, tuple[int, Sequence[Any]]] = {
        name: (FLOAT, [1, 1, length, mini.dim])
        for name, length in (("memory_keys", "T"), ("memory_values", "T"), ("past_keys", "P"), ("past_values", "P"))
    }
    inputs |= {"tokens": (INT64, ["N"]), "depths": (INT64, ["N"]), "seen": (FLOAT, ["N", "S"])}
    outputs = dict.fromkeys(("log_probs", "keys", "values"), (FLOAT, None))
    save(folder / "second.onnx", b, inputs, outputs)
    lines = (f"{piece} {index}\n" for index, piece in enumerate(SECOND_PIECES))
    (folder / "second_units.txt").write_text("".join(lines), encoding="utf-8")
