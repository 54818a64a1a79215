"""W4 offline: sherpa-onnx's export of a whole-recording WeNet CTC model. Its streaming twin is in `wenet_cpu.py`."""

from __future__ import annotations

import numpy as np

from engines.description import OfflineSpec
from engines.families import common, w1
from engines.families.common import Graph, Inspection, Wanted
from engines.manifest import EncoderManifest
from engines.ort import Array

INPUTS: Wanted = {"x": ("float", 3), "x_lens": ("int", 1)}
OUTPUTS: Wanted = {"log_probs": ("float", 3), "log_probs_lens": ("int", 1)}


def describe(graph: Graph, half: EncoderManifest | None, inspection: Inspection) -> OfflineSpec | None:
    """Read the model's sizes from its inputs and from three runs; None after adding a problem."""
    findings = inspection.findings
    if not common.check_tensors(graph, INPUTS, OUTPUTS, {}, findings):
        return None
    batchable = common.is_batchable(graph, "x", findings)
    bins = common.fixed_sizes(graph, "x", (2,), findings)
    if batchable is None or bins is None:
        return None
    lengths, vocab_size = [], 0
    for frames in w1.PROBE_LENGTHS:
        feeds: dict[str, Array] = {
            "x": np.zeros((1, frames, bins[0]), np.float32),
            "x_lens": np.full(1, frames, np.int64),
        }
        outputs = common.try_run(graph, feeds, findings)
        if outputs is None:
            return None
        lengths.append(outputs["log_probs"].shape[1])
        vocab_size = outputs["log_probs"].shape[2]
    stated = {"subsampling": common.as_int(graph.model.metadata.get("subsampling_factor")), "context": None}
    pair = common.front_end(graph, half, w1.lengths_fit(lengths), findings, stated)
    if pair is None:
        return None
    said = common.as_int(graph.model.metadata.get("vocab_size"))
    if said not in (None, vocab_size):
        findings.problem(f"{graph.path.name}: its metadata state vocab_size {said}, it scores {vocab_size} tokens")
        return None
    return OfflineSpec(
        family="W4",
        encoder=graph.path,
        subsampling=pair[0],
        context=pair[1],
        num_bins=bins[0],
        output_size=None,
        vocab_size=vocab_size,
        position_limit_frames=common.position_limit(inspection.manifest, lambda: common.USUAL_POSITIONS, 0, 1),
        is_batchable=batchable,
        float_type=common.float_type(graph.model),
    )
