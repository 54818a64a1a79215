"""W3 and streaming W4: encoders that take one stream at a time and carry their state as `att_cache` and `cnn_cache`.

W3 is WeNet's `export_onnx_cpu.py` (encoder and CTC head apart), W4 is sherpa-onnx's export of the same forward pass
under other names. Chunk size and left context are fixed at export and written in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.description import OfflineSpec, StateTensor, StreamingSpec
from engines.families import common
from engines.families.common import Findings, Graph, Inspection, Wanted
from engines.manifest import EncoderManifest, Family
from engines.ort import Array


@dataclass(frozen=True, slots=True)
class Names:
    """What one of the two exporters calls its tensors."""

    features: str
    att_cache: str
    cnn_cache: str
    mask: str
    output: str
    next_att_cache: str
    next_cnn_cache: str


W3 = Names("chunk", "att_cache", "cnn_cache", "att_mask", "output", "r_att_cache", "r_cnn_cache")
W4 = Names("x", "attn_cache", "conv_cache", "attn_mask", "log_probs", "next_att_cache", "next_conv_cache")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of one export. `chunk` and `left_chunks` -1 mean the whole recording and all of the past."""

    names: Names
    num_bins: int
    chunk: int
    left_chunks: int
    front_end: tuple[int, int]
    att_shape: tuple[int, int, int, int]  # layers, heads, frames, 2 d_k
    cnn_shape: tuple[int, int, int, int] | None  # layers, 1, channels, kernel - 1

    @property
    def cache_frames(self) -> int:
        """Encoder frames of a full cache of constant size; 0 where there is none or where it grows."""
        return max(self.chunk, 0) * max(self.left_chunks, 0)

    @property
    def window(self) -> int:
        """Feature frames of a step."""
        return (self.chunk - 1) * self.front_end[0] + self.front_end[1]

    @property
    def window_text(self) -> str:
        """Name the window and where its size comes from."""
        return (
            f"a window of {self.window} frames, which its metadata mean by chunk_size {self.chunk}, left_chunks "
            f"{self.left_chunks}, subsampling {self.front_end[0]} and context {self.front_end[1]}"
        )

    def feeds(self, features: Array, offset: int, mask: Array | None = None) -> dict[str, Array]:
        """Return a first step's inputs; a graph that lacks one of them leaves it out."""
        one = (1,) if self.names is W4 else ()
        if mask is None:
            mask = np.ones((1, 1, self.cache_frames + max(self.chunk, 0)), np.bool_)
        required = self.cache_frames if self.left_chunks >= 0 else -1
        feeds: dict[str, Array] = {
            self.names.features: features,
            "offset": np.full(one, offset, np.int64),
            "required_cache_size": np.full(one, required, np.int64),
            self.names.att_cache: np.zeros(self.att_shape, np.float32),
            self.names.mask: mask,
        }
        if self.cnn_shape is not None:
            feeds[self.names.cnn_cache] = np.zeros(self.cnn_shape, np.float32)
        return feeds


def describe_streaming(
    graph: Graph, ctc: Graph | None, half: EncoderManifest | None, inspection: Inspection
) -> StreamingSpec | OfflineSpec | None:
    """Describe a W3 encoder with its CTC head, or a W4 encoder; W3 without chunks is an offline model."""
    names, family = (W3, "W3") if graph.role == "W3 encoder" else (W4, "W4")
    findings = inspection.findings
    geometry = _geometry(graph, names, half, findings)
    if geometry is None:
        return None
    if geometry.chunk <= 0:
        return _offline(graph, ctc, geometry, inspection)
    features = np.zeros((1, geometry.window, geometry.num_bins), np.float32)
    outputs = common.try_run(graph, geometry.feeds(features, geometry.cache_frames), findings, geometry.window_text)
    if outputs is None or not _shapes_agree(graph, geometry, outputs, findings):
        return None
    vocab_size, output_size = _sizes(graph, ctc, outputs[names.output], findings)
    if vocab_size is None:
        return None
    first_offset = geometry.cache_frames
    return StreamingSpec(
        family=_family(family),
        encoder=graph.path,
        ctc=ctc.path if ctc else None,
        subsampling=geometry.front_end[0],
        context=geometry.front_end[1],
        chunk=geometry.chunk,
        left_chunks=geometry.left_chunks,
        num_bins=geometry.num_bins,
        output_size=output_size,
        vocab_size=vocab_size,
        first_offset=first_offset,
        position_limit_frames=common.position_limit(
            inspection.manifest,
            lambda: common.position_rows(_accepts(graph, geometry), geometry.chunk),
            first_offset,
            geometry.chunk,
        ),
        partial_frames=inspection.manifest.partial_frames,
        states=_states(geometry),
    )


def _offline(graph: Graph, ctc: Graph | None, geometry: Geometry, inspection: Inspection) -> OfflineSpec | None:
    findings = inspection.findings
    if geometry.names is W4:
        findings.problem(f"{graph.path.name}: a streaming export needs a chunk_size above 0 in its metadata")
        return None
    subsampling, context = geometry.front_end
    frames = context + 5 * subsampling
    features = np.zeros((1, frames, geometry.num_bins), np.float32)
    outputs = common.try_run(graph, geometry.feeds(features, 0), findings)
    if outputs is None:
        return None
    got = outputs[geometry.names.output].shape[1]
    if got != 6:
        findings.problem(f"{graph.path.name} makes {got} encoder frames of {frames} feature frames, its metadata say 6")
        return None
    vocab_size, output_size = _sizes(graph, ctc, outputs[geometry.names.output], findings)
    if vocab_size is None:
        return None
    return OfflineSpec(
        family="W3",
        encoder=graph.path,
        ctc=ctc.path if ctc else None,
        subsampling=subsampling,
        context=context,
        num_bins=geometry.num_bins,
        output_size=output_size,
        vocab_size=vocab_size,
        position_limit_frames=common.position_limit(inspection.manifest, lambda: common.USUAL_POSITIONS, 0, 1),
        states=_states(geometry),
    )


def _geometry(graph: Graph, names: Names, half: EncoderManifest | None, findings: Findings) -> Geometry | None:
    # The exporter drops the inputs that a mode does not use: offset, sizes and mask are optional.
    inputs: Wanted = {names.features: ("float", 3), names.att_cache: ("float", 4)}
    optional: Wanted = {
        "offset": ("int", 1 if names is W4 else 0),
        "required_cache_size": ("int", 1 if names is W4 else 0),
        names.mask: ("bool", 3),
        names.cnn_cache: ("float", 4),
    }
    outputs: Wanted = {names.output: ("float", 3), names.next_att_cache: ("float", 4)}
    if not common.check_tensors(graph, inputs, outputs, optional, findings):
        return None
    chunk, left = _stated_chunks(graph, half)
    if chunk is None or left is None:
        findings.problem(
            f"{graph.path.name}: its metadata lack chunk_size or left_chunks; state chunk and left_chunks in model.toml"
        )
        return None
    bins = common.fixed_sizes(graph, names.features, (2,), findings)
    pair = _stated_front_end(graph, half, findings)
    shapes = _state_shapes(graph, names, max(chunk, 0) * max(left, 0), findings)
    if bins is None or pair is None or shapes is None:
        return None
    geometry = Geometry(names, bins[0], chunk, left, pair, *shapes)
    return geometry if _metadata_agree(graph, geometry, findings) else None


def _stated_chunks(graph: Graph, half: EncoderManifest | None) -> tuple[int | None, int | None]:
    chunk = common.as_int(graph.model.metadata.get("chunk_size"))
    left = common.as_int(graph.model.metadata.get("left_chunks"))
    if half is not None:
        chunk = half.chunk if half.chunk is not None else chunk
        left = half.left_chunks if half.left_chunks is not None else left
    return chunk, left


def _stated_front_end(graph: Graph, half: EncoderManifest | None, findings: Findings) -> tuple[int, int] | None:
    metadata = graph.model.metadata
    subsampling = common.as_int(metadata.get("subsampling_rate", metadata.get("subsampling_factor")))
    right = common.as_int(metadata.get("right_context"))
    if half is not None:
        subsampling = half.subsampling or subsampling
        right = half.right_context if half.right_context is not None else right
    if right is None:
        right = next((context - 1 for known, context in common.KNOWN_FRONT_ENDS if known == subsampling), None)
    if subsampling is None or right is None:
        findings.problem(
            f"{graph.path.name}: its metadata lack the subsampling rate or right_context; state subsampling and "
            f"right_context in model.toml"
        )
        return None
    return subsampling, right + 1


def _state_shapes(
    graph: Graph, names: Names, cache_frames: int, findings: Findings
) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int] | None] | None:
    """Take the caches' shapes from the graph, and from the metadata where the exporter left an axis symbolic."""
    metadata = {key: common.as_int(value) for key, value in graph.model.metadata.items()}
    head, size, kernel = metadata.get("head"), metadata.get("output_size"), metadata.get("cnn_module_kernel")
    att, cnn = graph.model.inputs[names.att_cache], graph.model.inputs.get(names.cnn_cache)
    layers = att.size(0) or metadata.get("num_blocks")
    heads = att.size(1) or head
    width = att.size(3) or (2 * size // head if size and head else None)
    channels = (cnn.size(2) if cnn else None) or size
    history = (cnn.size(3) if cnn else None) or (kernel - 1 if kernel else None)
    if layers is None or heads is None or width is None or (cnn and (channels is None or history is None)):
        findings.problem(
            f"{graph.path.name}: neither the shape of its caches nor its metadata (num_blocks, head, output_size, "
            f"cnn_module_kernel) say how large the encoder's state is"
        )
        return None
    cnn_shape = (layers, 1, channels or 0, history or 0) if cnn else None
    return (layers, heads, cache_frames, width), cnn_shape


def _metadata_agree(graph: Graph, geometry: Geometry, findings: Findings) -> bool:
    """Compare what the graph declares with what its metadata state."""
    layers, heads, frames, width = geometry.att_shape
    declared = graph.model.inputs[geometry.names.att_cache].size(2)
    found = {"num_blocks": layers, "head": heads, "output_size": heads * width // 2, "feature_size": geometry.num_bins}
    wrong = [
        f"{key} {stated} (graph: {value})"
        for key, value in found.items()
        if (stated := common.as_int(graph.model.metadata.get(key))) is not None and stated != value
    ]
    if declared is not None and geometry.cache_frames and declared != frames:
        wrong.append(f"chunk_size {geometry.chunk} and left_chunks {geometry.left_chunks} (graph: cache of {declared})")
    if wrong:
        findings.problem(f"{graph.path.name}: its metadata contradict the graph: {', '.join(wrong)}")
    return not wrong


def _shapes_agree(graph: Graph, geometry: Geometry, outputs: dict[str, Array], findings: Findings) -> bool:
    frames = outputs[geometry.names.output].shape[1]
    if frames != geometry.chunk:
        findings.problem(
            f"{graph.path.name} makes {frames} encoder frames, not {geometry.chunk}, of {geometry.window_text}"
        )
        return False
    cache = outputs[geometry.names.next_att_cache].shape[2]
    expected = geometry.chunk if geometry.left_chunks < 0 else geometry.cache_frames
    if cache != expected:
        findings.problem(
            f"{graph.path.name} returns a cache of {cache} frames after its first step, left_chunks "
            f"{geometry.left_chunks} means {expected}"
        )
    return bool(cache == expected)


def _sizes(graph: Graph, ctc: Graph | None, output: Array, findings: Findings) -> tuple[int | None, int | None]:
    """Return vocabulary and output size: W4 encoders return log-probs, W3's output goes through the CTC head."""
    if graph.role == "W4 streaming":
        return int(output.shape[2]), None
    size = int(output.shape[2])
    if ctc is None:
        findings.problem(f"{graph.path.name} is the encoder of a WeNet CPU export, whose ctc.onnx is missing")
        return None, size
    declared = ctc.model.inputs["hidden"].size(2) if "hidden" in ctc.model.inputs else None
    if declared not in (None, size):
        findings.problem(f"{ctc.path.name} takes {declared} values per frame, {graph.path.name} makes {size}")
        return None, size
    ran = common.try_run(ctc, {"hidden": output}, findings)
    return (int(ran["probs"].shape[2]) if ran else None), size


def _states(geometry: Geometry) -> tuple[StateTensor, ...]:
    names = geometry.names
    states = [_state(names.att_cache, names.next_att_cache, geometry.att_shape)]
    if geometry.cnn_shape is not None:
        states.append(_state(names.cnn_cache, names.next_cnn_cache, geometry.cnn_shape))
    return tuple(states)


def _state(name: str, output: str, shape: tuple[int, ...]) -> StateTensor:
    return StateTensor(name=name, output=output, shape=shape, batch_axis=1, dtype="float32")


def _accepts(graph: Graph, geometry: Geometry) -> Callable[[int], bool]:
    features = np.zeros((1, geometry.window, geometry.num_bins), np.float32)
    return lambda first: common.runs(graph, geometry.feeds(features, first))


def _family(name: str) -> Family:
    return "W3" if name == "W3" else "W4"
