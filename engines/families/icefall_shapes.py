"""The state shapes that a streaming encoder's metadata promise (asr.md 3.3, 3.5, 3.6), to compare with its graph."""

from __future__ import annotations

from collections.abc import Mapping

from engines.manifest import Family

Shape = tuple[int, ...]


def promised_shapes(family: Family, metadata: Mapping[str, str]) -> list[Shape] | None:
    """Return each state's shape without its batch axis, in the graph's order; None where the metadata do not say.

    Raises ValueError where they are no numbers, or lists of different lengths.
    """
    make = {"K2": _zipformer2, "K3": _zipformer2, "K4": _zipformer, "K5": _conformer}.get(family)
    if make is None or "model_type" not in metadata:
        return None
    try:
        return make(metadata)
    except KeyError:
        return None


def _numbers(metadata: Mapping[str, str], key: str) -> list[int]:
    return [int(part) for part in metadata[key].split(",")]


def _zipformer2(metadata: Mapping[str, str]) -> list[Shape]:
    keys = ["num_encoder_layers", "encoder_dims", "cnn_module_kernels", "left_context_len"]
    keys += ["query_head_dims", "value_head_dims", "num_heads"]
    shapes: list[Shape] = []
    for layers, dim, kernel, left, query, value, heads in zip(*(_numbers(metadata, key) for key in keys), strict=True):
        layer: list[Shape] = [(left, query * heads), (1, left, 3 * dim // 4), (left, value * heads)]
        layer += [(left, value * heads), (dim, kernel // 2), (dim, kernel // 2)]
        shapes += layer * layers
    return shapes


def _zipformer(metadata: Mapping[str, str]) -> list[Shape]:
    keys = ("num_encoder_layers", "encoder_dims", "cnn_module_kernels", "left_context_len", "attention_dims")
    stacks = list(zip(*(_numbers(metadata, key) for key in keys), strict=True))
    shapes: list[Shape] = [(n,) for n, *_ in stacks] + [(n, dim) for n, dim, *_ in stacks]
    shapes += [(n, left, size) for n, _, _, left, size in stacks]
    shapes += [(n, left, size // 2) for n, _, _, left, size in stacks] * 2
    return shapes + [(n, dim, kernel - 1) for n, dim, kernel, *_ in stacks] * 2


def _conformer(metadata: Mapping[str, str]) -> list[Shape]:
    layers, left, dim, kernel = (
        int(metadata[key]) for key in ("num_encoder_layers", "left_context", "encoder_dim", "cnn_module_kernel")
    )
    return [(layers, left, dim), (layers, kernel - 1, dim)]
