"""Decoders over prefix trees: our own exporter's, beside a W1 or W2 decoder whose weights they share."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from engines.description import RescoringSpec
from engines.families import common
from engines.families.common import Findings, Graph, Wanted
from engines.ort import Array

INPUTS: Wanted = {
    "encoder_out": ("float", 2),
    "tokens": ("int", 1),
    "depths": ("int", 1),
    "ancestors": ("float", 2),
    "parents": ("int", 1),
    "labels": ("int", 1),
}
_PROBE_FRAMES = 8


def add_trees(
    spec: RescoringSpec, left: Graph | None, right: Graph | None, num_tokens: int, findings: Findings
) -> RescoringSpec:
    """Return the spec with the trees in it, or as it is after adding a problem."""
    before = len(findings.problems)
    if left is None or (right is None) == spec.is_bidirectional:
        wanted = "left_tree and right_tree" if spec.is_bidirectional else "left_tree alone"
        findings.problem(f"model.toml: [decoder] needs {wanted}: {spec.decoder.name} reads {_sides(spec)}")
        return spec
    if spec.ctc_weight is None or spec.reverse_weight is None:
        findings.problem("model.toml: [decoder] has trees, so it must state ctc_weight and reverse_weight")
    for graph in (left, right):
        if graph is not None:
            _check(graph, spec, num_tokens, findings)
    if len(findings.problems) > before:
        return spec
    return msgspec.structs.replace(spec, left_tree=left.path, right_tree=None if right is None else right.path)


def _sides(spec: RescoringSpec) -> str:
    return "in both directions" if spec.is_bidirectional else "left to right only"


def _check(graph: Graph, spec: RescoringSpec, num_tokens: int, findings: Findings) -> None:
    if not common.check_tensors(graph, INPUTS, {"scores": ("float", 1)}, {}, findings):
        return
    width, own = graph.model.inputs["encoder_out"].size(1), spec.output_size
    if width != own:
        findings.problem(f"{graph.path.name} takes {width} values per encoder frame, {spec.decoder.name} {own}")
        return
    probe = tree_probe(width or 1)
    if common.try_run(graph, probe(0), findings) is None:
        return
    if not common.runs(graph, probe(num_tokens - 1)) or common.runs(graph, probe(num_tokens)):
        findings.problem(f"{graph.path.name} does not know just the {num_tokens} tokens of the token file")


def tree_probe(width: int) -> Callable[[int], dict[str, Array]]:
    """Return a maker of inputs: a tree of one token, the given id, after the sentence start."""

    def feeds(token: int) -> dict[str, Array]:
        return {
            "encoder_out": np.zeros((_PROBE_FRAMES, width), np.float32),
            "tokens": np.array([0, token]),
            "depths": np.arange(2),
            "ancestors": np.tri(2, dtype=np.float32),
            "parents": np.arange(2),
            "labels": np.array([token, 0]),
        }

    return feeds
