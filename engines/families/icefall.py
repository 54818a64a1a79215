"""What icefall's and sherpa's graphs have in common: roles told by structure, as their tensors may be renamed."""

from __future__ import annotations

from dataclasses import dataclass

from engines.families.common import Graph, Role
from engines.manifest import Family
from engines.ort import OrtModel, TensorInfo

OFFLINE_TYPES = ("zipformer", "zipformer2", "zipformer2_ctc", "conformer")


@dataclass(frozen=True, slots=True)
class Layout:
    """A streaming encoder's tensors: features, lengths, (state, next state) pairs in order, and a counter.

    The counter is the past's length where the graph takes it but does not return it (K5).
    """

    features: TensorInfo
    lengths: TensorInfo | None
    out: TensorInfo
    out_lengths: TensorInfo | None
    states: tuple[tuple[TensorInfo, TensorInfo], ...]
    counter: TensorInfo | None


def role_of(model: OrtModel) -> Role | None:
    """Tell by number, kind and rank of the tensors; None for graphs of other makers."""
    inputs = list(model.inputs.values())
    ranks = [(info.is_float, len(info.shape)) for info in inputs]
    if not inputs or not model.outputs:
        return None
    if ranks == [(False, 2)] and inputs[0].dtype.kind == "i":
        return "transducer decoder"
    if ranks == [(True, 2), (True, 2)]:
        return "transducer joiner"
    if ranks in ([(True, 3)], [(True, 3), (False, 1)]) and _is_offline(model):
        return "icefall offline"
    if ranks[0] == (True, 3) and len(ranks) >= 4 and layout_of(model) is not None:
        return "icefall streaming"
    return None


def _is_offline(model: OrtModel) -> bool:
    """Offline WeNet exports of sherpa-onnx (W4) look alike; these say what they are, or give encoder output."""
    kind = model.metadata.get("model_type")
    return kind in OFFLINE_TYPES or (kind is None and "log_probs" not in model.outputs and len(model.outputs) <= 2)


def layout_of(model: OrtModel) -> Layout | None:
    """Pair states with their next values by order; None where the numbers do not fit."""
    features, *rest = model.inputs.values()
    out, *following = model.outputs.values()
    lengths = out_lengths = counter = None
    # Lengths stand right behind the features, on both sides; a state of rank 1 is the last one, or K5's counter.
    if rest and _is_count(rest[0]) and len(rest) > 1 and following and _is_count(following[0]):
        lengths, *rest = rest
        out_lengths, *following = following
    if len(rest) == len(following) + 1 and _is_count(rest[-1]):
        *rest, counter = rest
    if not rest or len(rest) != len(following):
        return None
    return Layout(features, lengths, out, out_lengths, tuple(zip(rest, following, strict=True)), counter)


def _is_count(info: TensorInfo) -> bool:
    return info.dtype.kind == "i" and len(info.shape) == 1


def streaming_family(graph: Graph, layout: Layout) -> Family | None:
    """Tell by metadata and by the states' shapes; None for an encoder of a kind that is not known."""
    kind = graph.model.metadata.get("model_type")
    if layout.lengths is not None:
        return "T2" if len(layout.states) == 4 else "T1" if len(layout.states) == 3 else None
    if layout.counter is not None and kind in (None, "conformer"):
        return "K5"
    if kind == "zipformer2" or (kind is None and len(layout.states) % 6 == 2):
        return "K3" if is_ctc(graph) else "K2"
    if kind == "zipformer" or (kind is None and len(layout.states) % 7 == 0):
        return "K4"
    return None


def hears_whisper(model: OrtModel) -> bool:
    """Whether the model was trained on Whisper's features, as its metadata say."""
    return "whisper" in (model.metadata.get("feature"), model.metadata.get("feature_type"))


def is_ctc(graph: Graph) -> bool:
    """Whether the first output is log-probabilities: by its name, or by what the metadata say."""
    name, comment = next(iter(graph.model.outputs)), graph.model.metadata.get("comment", "")
    kind = graph.model.metadata.get("model_type", "")
    return name == "log_probs" or (name != "encoder_out" and ("ctc" in comment or kind.endswith("_ctc")))
