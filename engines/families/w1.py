"""W1: WeNet's offline GPU encoder (`export_onnx_gpu.py`), batched, with log-probs in the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.description import OfflineSpec
from engines.families import common
from engines.families.common import USUAL_POSITIONS, Graph, Inspection, Wanted
from engines.manifest import EncoderManifest
from engines.ort import Array

INPUTS: Wanted = {"speech": ("float", 3), "speech_lengths": ("int", 1)}
PROBE_LENGTHS = (64, 99, 131)  # feature frames that tell the known front ends apart


def describe(graph: Graph, half: EncoderManifest | None, inspection: Inspection) -> OfflineSpec | None:
    """Read the encoder's sizes from its inputs and from three runs; None after adding a problem."""
    findings = inspection.findings
    if not common.check_tensors(graph, INPUTS, _outputs(graph), {}, findings):
        return None
    batchable = common.is_batchable(graph, "speech", findings)
    bins = common.fixed_sizes(graph, "speech", (2,), findings)
    if batchable is None or bins is None:
        return None
    ran = [common.try_run(graph, _silence(length, bins[0]), findings) for length in PROBE_LENGTHS]
    outputs = [output for output in ran if output is not None]
    if len(outputs) < len(ran):
        return None
    lengths = [output["encoder_out"].shape[1] for output in outputs]
    stated = {"subsampling": common.as_int(graph.config.get("subsampling_rate")), "context": None}
    pair = common.front_end(graph, half, lengths_fit(lengths), findings, stated)
    if pair is None:
        return None
    has_candidates = "beam_log_probs" in outputs[0]
    return OfflineSpec(
        family="W1",
        encoder=graph.path,
        subsampling=pair[0],
        context=pair[1],
        num_bins=bins[0],
        output_size=outputs[0]["encoder_out"].shape[2],
        vocab_size=_vocab_size(graph, outputs[0]),
        candidates=outputs[0]["beam_log_probs"].shape[2] if has_candidates else None,
        # Looking for the table's end would cost attention over all of its rows: trust WeNet's, or model.toml.
        position_limit_frames=common.position_limit(inspection.manifest, lambda: USUAL_POSITIONS, 0, 1),
        is_batchable=batchable,
        float_type=common.float_type(graph.model),
    )


def lengths_fit(lengths: list[int]) -> Callable[[int, int], bool]:
    """Return the test of a front end against the encoder frames that the probe lengths gave."""

    def fits(subsampling: int, context: int) -> bool:
        return lengths == [(frames - context) // subsampling + 1 for frames in PROBE_LENGTHS]

    return fits


def _outputs(graph: Graph) -> Wanted:
    common_part: Wanted = {"encoder_out": ("float", 3), "encoder_out_lens": ("int", 1)}
    if "beam_log_probs" in graph.model.outputs:
        return {**common_part, "beam_log_probs": ("float", 3), "beam_log_probs_idx": ("int", 3)}
    return {**common_part, "ctc_log_probs": ("float", 3)}


def _silence(frames: int, num_bins: int) -> dict[str, Array]:
    return {"speech": np.zeros((1, frames, num_bins), np.float32), "speech_lengths": np.full(1, frames, np.int32)}


def _vocab_size(graph: Graph, outputs: dict[str, Array]) -> int | None:
    if "ctc_log_probs" in outputs:
        return int(outputs["ctc_log_probs"].shape[2])
    return common.as_int(graph.train.get("output_dim"))
