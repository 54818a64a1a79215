"""K2, streaming K3, K4, K5, T1 and T2: streaming encoders with all their state as tensors."""

from __future__ import annotations

import numpy as np

from engines.description import Names, StateTensor, StreamingSpec
from engines.families import common
from engines.families.common import Findings, Graph, Inspection
from engines.families.icefall import Layout, is_ctc, layout_of, streaming_family
from engines.families.icefall_shapes import promised_shapes
from engines.manifest import EncoderManifest, Family
from engines.ort import Array

USUAL_CHUNK = 16
# Feature frames that a first encoder frame sees for itself; what a window has beyond is look-ahead.
TAIL_CONTEXT: dict[Family, int] = {"K2": 9, "K3": 9, "K4": 9, "T2": 9, "K5": 11, "T1": 11}


def describe(graph: Graph, half: EncoderManifest | None, inspection: Inspection) -> StreamingSpec | None:
    """Read the encoder's sizes from its inputs, one run and its metadata; None after adding a problem."""
    findings, layout = inspection.findings, layout_of(graph.model)
    assert layout is not None, "the role was told by the layout"
    family = half.family if half is not None and half.family else streaming_family(graph, layout)
    if family is None:
        kind = graph.model.metadata.get("model_type")
        findings.problem(
            f"{graph.path.name} is a streaming encoder of a kind that this server does not know (model_type {kind}, "
            f"{len(layout.states)} states); known are zipformer2, zipformer and conformer"
        )
        return None
    batchable = common.is_batchable(graph, layout.features.name, findings)
    bins = common.fixed_sizes(graph, layout.features.name, (2,), findings)
    if batchable is None:
        return None
    states = _states(graph, layout, batchable, findings)
    if bins is None or states is None or not _promises_kept(graph, family, states, findings):
        return None
    window = _window(graph, family, layout, half, inspection)
    if window is None:
        return None
    outputs = _try_step(graph, layout, states, (2 if batchable else 1, window, bins[0]), findings)
    if outputs is None:
        return None
    _, made, size = outputs[layout.out.name].shape
    chunk = _chunk(half) if layout.lengths is not None else made
    stride = _stride(graph, half, chunk)
    if not 0 < chunk <= made or stride < 1 or stride % chunk or window < stride:
        findings.problem(
            f"{graph.path.name} makes {made} encoder frames of a window of {window} frames that moves on by {stride}"
        )
        return None
    return _spec(graph, layout, family, (window, stride, chunk, bins[0], size), states, batchable, inspection)


def _spec(
    graph: Graph,
    layout: Layout,
    family: Family,
    sizes: tuple[int, int, int, int, int],
    states: tuple[StateTensor, ...],
    batchable: bool,
    inspection: Inspection,
) -> StreamingSpec:
    window, stride, chunk, num_bins, size = sizes
    manifest, ctc = inspection.manifest, is_ctc(graph)
    subsampling, old = stride // chunk, manifest.compatibility
    context = window - (chunk - 1) * subsampling
    return StreamingSpec(
        family=family,
        encoder=graph.path,
        subsampling=subsampling,
        context=context,
        chunk=chunk,
        left_chunks=_left(family, states, layout, graph) // chunk,
        num_bins=num_bins,
        output_size=None if ctc else size,
        vocab_size=size if ctc else None,
        partial_frames=manifest.partial_frames,
        is_batchable=batchable,
        float_type=layout.features.dtype.name,
        states=states,
        head="ctc" if ctc else "transducer",
        names=Names(
            features=layout.features.name,
            lengths=layout.lengths.name if layout.lengths else None,
            out=layout.out.name,
            out_lengths=layout.out_lengths.name if layout.out_lengths else None,
            counter=layout.counter.name if layout.counter else None,
        ),
        tail_context=min(TAIL_CONTEXT[family], context) if subsampling == 4 else context,
        tail_frames=0 if ctc else old.tail_ms // 10,
        is_strict=old.readiness == "strict",
        drops_tail=old.end == "drop",
        counts_features=old.processed_lens == "features",
    )


def _states(graph: Graph, layout: Layout, batchable: bool, findings: Findings) -> tuple[StateTensor, ...] | None:
    """Find each state's batch axis: the one with the name of the features' batch axis, or the only one that varies."""
    name = layout.features.shape[0]
    found: list[StateTensor] = []
    for state, following in layout.states:
        loose = [axis for axis, size in enumerate(state.shape) if not isinstance(size, int)]
        named = [axis for axis in loose if state.shape[axis] == name]
        axes = named or loose
        if not batchable:
            axes = axes or [axis for axis, size in enumerate(state.shape) if size == 1][-1:]
        if len(axes) != 1 or set(loose) - set(axes):
            shape = ", ".join(map(str, state.shape))
            findings.problem(
                f"{graph.path.name}: state {state.name} has shape [{shape}]; its batch axis must vary and no other"
            )
            return None
        if following.dtype != state.dtype:
            findings.problem(
                f"{graph.path.name}: state {state.name} goes in as {state.dtype} and {following.name} comes out as "
                f"{following.dtype}"
            )
            return None
        shape_of_one = tuple(1 if axis == axes[0] else int(size or 0) for axis, size in enumerate(state.shape))
        found.append(
            StateTensor(
                name=state.name,
                output=following.name,
                shape=shape_of_one,
                batch_axis=axes[0],
                dtype=state.dtype.name,
            )
        )
    return tuple(found)


def _promises_kept(graph: Graph, family: Family, states: tuple[StateTensor, ...], findings: Findings) -> bool:
    """Compare the states' shapes with those that the metadata promise."""
    try:
        promised = promised_shapes(family, graph.model.metadata)
    except ValueError as error:
        findings.problem(f"{graph.path.name}: its metadata are damaged: {error}")
        return False
    if promised is None:
        return True
    wrong = [
        f"{state.name} {_without(state)} (metadata: {list(shape)})"
        for state, shape in zip(states, promised, strict=False)
        if tuple(_without(state)) != shape
    ]
    if not wrong and len(states) >= len(promised):
        return True
    detail = "; ".join(wrong[:3]) or f"{len(states)} states (metadata: at least {len(promised)})"
    findings.problem(f"{graph.path.name}: its states contradict its metadata: {detail}")
    return False


def _without(state: StateTensor) -> list[int]:
    return [size for axis, size in enumerate(state.shape) if axis != state.batch_axis]


def _window(
    graph: Graph, family: Family, layout: Layout, half: EncoderManifest | None, inspection: Inspection
) -> int | None:
    """Feature frames of a step: the graph's own number, checked against metadata, or made from the chunk size."""
    fixed, stated = layout.features.size(1), common.as_int(graph.model.metadata.get("T"))
    if fixed is not None and stated not in (None, fixed):
        inspection.findings.problem(f"{graph.path.name} takes {fixed} frames a step, its metadata say T = {stated}")
        return None
    asked = inspection.manifest.compatibility.window
    if fixed is not None or asked is not None:
        return fixed or asked
    if stated is not None:
        return stated
    chunk = _chunk(half)
    if half is None or half.chunk is None:
        inspection.findings.note(
            f"{graph.path.name} does not say its chunk size; {chunk} is taken, state [streaming] chunk in model.toml"
        )
    if family == "T2":
        return 4 * chunk + 7
    right = _right_context(graph, layout, inspection.findings)
    return None if right is None else (chunk + 2 + right) * 4 + 3


def _right_context(graph: Graph, layout: Layout, findings: Findings) -> int | None:
    """T1 drops its look-ahead: two frames at the edges and the right context; a run shows how many."""
    states = _states(graph, layout, True, Findings())
    bins = layout.features.size(2) or 80
    frames = 4 * USUAL_CHUNK + 67
    outputs = _try_step(graph, layout, states or (), (1, frames, bins), findings)
    if outputs is None:
        return None
    return (frames - 3) // 4 - 2 - int(outputs[layout.out.name].shape[1])


def _chunk(half: EncoderManifest | None) -> int:
    """Encoder frames that a step of a graph of any chunk size adds; more that it may make are repeats."""
    return half.chunk if half is not None and half.chunk else USUAL_CHUNK


def _stride(graph: Graph, half: EncoderManifest | None, chunk: int) -> int:
    stated = common.as_int(graph.model.metadata.get("decode_chunk_len"))
    subsampling = half.subsampling if half is not None and half.subsampling else 4
    return subsampling * chunk if stated is None else stated


def _try_step(
    graph: Graph, layout: Layout, states: tuple[StateTensor, ...], shape: tuple[int, int, int], findings: Findings
) -> dict[str, Array] | None:
    """Run one step on zeros; the next states must have the shapes of those before."""
    rows = shape[0]
    feeds: dict[str, Array] = {layout.features.name: np.zeros(shape, np.float32)}
    if layout.lengths is not None:
        feeds[layout.lengths.name] = np.full(rows, shape[1])
    if layout.counter is not None:
        feeds[layout.counter.name] = np.zeros(rows)
    for state in states:
        sizes = tuple(rows if axis == state.batch_axis else size for axis, size in enumerate(state.shape))
        feeds[state.name] = np.zeros(sizes, np.dtype(state.dtype))
    outputs = common.try_run(graph, feeds, findings, f"a window of {shape[1]} frames for {rows} streams")
    if outputs is None:
        return None
    changed = [
        f"{state.name} {list(feeds[state.name].shape)} -> {list(outputs[state.output].shape)}"
        for state in states
        if outputs[state.output].shape != feeds[state.name].shape
    ]
    if changed:
        findings.problem(f"{graph.path.name}: states change their shape in a step: {', '.join(changed[:3])}")
        return None
    return outputs


def _left(family: Family, states: tuple[StateTensor, ...], layout: Layout, graph: Graph) -> int:
    """Encoder frames of left context, as far as it can be told: for people to read."""
    stated = graph.model.metadata.get("left_context_len", graph.model.metadata.get("left_context", "")).split(",")[0]
    frames = common.as_int(stated)
    if frames is None:
        if family in ("T1", "T2"):
            position = 0 if family == "T1" else 2
            return states[position].shape[1] // (2 if family == "T2" else 1)
        return _without(states[0])[0]
    return frames if family == "K5" else frames // 2
