"""W2: WeNet's streaming GPU encoder (`export_onnx_gpu.py --streaming`), batched, with all its state as tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.description import StateTensor, StreamingSpec
from engines.families import common
from engines.families.common import Findings, Graph, Inspection, Wanted
from engines.manifest import EncoderManifest
from engines.ort import Array

INPUTS: Wanted = {
    "chunk_xs": ("float", 3),
    "chunk_lens": ("int", 1),
    "offset": ("int", 2),
    "att_cache": ("float", 5),
    "cache_mask": ("float", 3),
}
OPTIONAL: Wanted = {"cnn_cache": ("float", 4)}
OUTPUTS: Wanted = {
    "chunk_out": ("float", 3),
    "r_offset": ("int", 2),
    "r_att_cache": ("float", 5),
    "r_cache_mask": ("float", 3),
}
STATES = ("offset", "att_cache", "cnn_cache", "cache_mask")


def describe(graph: Graph, half: EncoderManifest | None, inspection: Inspection) -> StreamingSpec | None:
    """Read the encoder's sizes from its inputs and from one run; None after adding a problem."""
    findings = inspection.findings
    if not common.check_tensors(graph, INPUTS, _outputs(graph), OPTIONAL, findings):
        return None
    batchable = common.is_batchable(graph, "chunk_xs", findings)
    sizes = common.fixed_sizes(graph, "chunk_xs", (1, 2), findings)
    states = _states(graph, findings)
    if batchable is None or sizes is None or states is None:
        return None
    window, num_bins = sizes
    feeds = _blank_step(states, window, num_bins, rows=2 if batchable else 1)
    outputs = common.try_run(graph, feeds, findings)
    if outputs is None or not _keeps_state(graph, feeds, outputs, states, findings):
        return None
    _, chunk, output_size = outputs["chunk_out"].shape
    pair = common.front_end(graph, half, common.window_fits(window, chunk), findings, _stated(graph))
    if pair is None or not _offset_advances(graph, outputs, chunk, findings):
        return None
    _compare_with_config(graph, chunk, window, feeds["cache_mask"].shape[2], findings)
    has_all = "ctc_log_probs" in outputs
    scores = outputs["ctc_log_probs" if has_all else "log_probs"]
    return StreamingSpec(
        family="W2",
        encoder=graph.path,
        subsampling=pair[0],
        context=pair[1],
        chunk=chunk,
        left_chunks=feeds["cache_mask"].shape[2] // chunk,
        num_bins=num_bins,
        output_size=output_size,
        vocab_size=scores.shape[2] if has_all else common.as_int(graph.train.get("output_dim")),
        candidates=None if has_all else scores.shape[2],
        position_limit_frames=common.position_limit(
            inspection.manifest,
            lambda: common.position_rows(_accepts(graph, states, window, num_bins), chunk),
            0,
            chunk,
        ),
        partial_frames=inspection.manifest.partial_frames,
        is_batchable=batchable,
        float_type=common.float_type(graph.model),
        states=states,
    )


def _outputs(graph: Graph) -> Wanted:
    scores: Wanted = {"log_probs": ("float", 3), "log_probs_idx": ("int", 3)}
    if "ctc_log_probs" in graph.model.outputs:
        scores = {"ctc_log_probs": ("float", 3)}
    convolution: Wanted = {"r_cnn_cache": ("float", 4)} if "cnn_cache" in graph.model.inputs else {}
    return {**OUTPUTS, **scores, **convolution}


def _states(graph: Graph, findings: Findings) -> tuple[StateTensor, ...] | None:
    states = []
    for name in STATES:
        info = graph.model.inputs.get(name)
        if info is None:
            continue
        sizes = common.fixed_sizes(graph, name, tuple(range(1, len(info.shape))), findings)
        output = graph.model.outputs[f"r_{name}"]
        if sizes is None:
            return None
        if output.dtype != info.dtype:
            findings.problem(f"{graph.path.name}: state {name} goes in as {info.dtype} and comes out as {output.dtype}")
            return None
        states.append(
            StateTensor(name=name, output=output.name, shape=(1, *sizes), batch_axis=0, dtype=info.dtype.name)
        )
    return tuple(states)


def _blank_step(states: tuple[StateTensor, ...], window: int, num_bins: int, rows: int) -> dict[str, Array]:
    feeds: dict[str, Array] = {
        state.name: np.zeros((rows, *state.shape[1:]), np.dtype(state.dtype)) for state in states
    }
    feeds["chunk_xs"] = np.zeros((rows, window, num_bins), np.float32)
    feeds["chunk_lens"] = np.full(rows, window, np.int32)
    return feeds


def _keeps_state(
    graph: Graph,
    feeds: dict[str, Array],
    outputs: dict[str, Array],
    states: tuple[StateTensor, ...],
    findings: Findings,
) -> bool:
    changed = [
        f"{state.name} {list(feeds[state.name].shape)} -> {list(outputs[state.output].shape)}"
        for state in states
        if outputs[state.output].shape != feeds[state.name].shape
    ]
    if changed:
        findings.problem(f"{graph.path.name}: states change their shape in a step: {', '.join(changed)}")
    return not changed


def _offset_advances(graph: Graph, outputs: dict[str, Array], chunk: int, findings: Findings) -> bool:
    offset = int(outputs["r_offset"].flat[0])
    if offset != chunk:
        findings.problem(
            f"{graph.path.name}: its offset grows by {offset} in the first step of {chunk} encoder frames; encoders "
            f"that down-sample between layers count positions wrongly in later steps and are not supported"
        )
    return offset == chunk


def _accepts(graph: Graph, states: tuple[StateTensor, ...], window: int, num_bins: int) -> Callable[[int], bool]:
    def accepts(first: int) -> bool:
        feeds = _blank_step(states, window, num_bins, rows=1)
        feeds["offset"] += first
        return common.runs(graph, feeds)

    return accepts


def _stated(graph: Graph) -> dict[str, int | None]:
    return {
        "subsampling": common.as_int(graph.config.get("subsampling_rate")),
        "context": common.as_int(graph.config.get("context")),
    }


def _compare_with_config(graph: Graph, chunk: int, window: int, cache: int, findings: Findings) -> None:
    """Side files of another export lie next to a graph more often than graphs are wrong."""
    found = {
        "decoding_chunk_size": chunk,
        "decoding_window": window,
        "num_decoding_left_chunks": cache // chunk,
        "feat_size": graph.model.inputs["chunk_xs"].size(2),
    }
    for key, value in found.items():
        stated = common.as_int(graph.config.get(key))
        if stated is not None and stated != value:
            findings.problem(
                f"config.yaml states {key} {stated}, but {graph.path.name} has {value}: they are of different exports"
            )
