"""K1, K6 and offline K3: encoders of whole recordings."""

from __future__ import annotations

import numpy as np

from engines.description import Names, OfflineSpec
from engines.families import common
from engines.families.common import USUAL_POSITIONS, Graph, Inspection
from engines.families.icefall import is_ctc
from engines.families.w1 import PROBE_LENGTHS
from engines.manifest import EncoderManifest, Family
from engines.ort import Array

# (subsampling, feature frames of the first encoder frame) of the known front ends; zipformer1 has zipformer2's.
FRONT_ENDS = (("zipformer2", (4, 9)), *(("conformer", pair) for pair in common.KNOWN_FRONT_ENDS))


def describe(graph: Graph, half: EncoderManifest | None, inspection: Inspection) -> OfflineSpec | None:
    """Read the encoder's sizes from its inputs and from three runs; None after adding a problem."""
    findings, model = inspection.findings, graph.model
    names = _names(graph)
    batchable = common.is_batchable(graph, names.features, findings)
    bins = common.fixed_sizes(graph, names.features, (2,), findings)
    if batchable is None or bins is None:
        return None
    shapes = []
    for frames in PROBE_LENGTHS:
        feeds: dict[str, Array] = {names.features: np.zeros((1, frames, bins[0]), np.float32)}
        if names.lengths is not None:
            feeds[names.lengths] = np.full(1, frames)
        outputs = common.try_run(graph, feeds, findings)
        if outputs is None:
            return None
        shapes.append(outputs[names.out].shape)
    lengths, size = [shape[1] for shape in shapes], int(shapes[0][2])
    fitting = [found for found in FRONT_ENDS if lengths == [_count(found[1], n) for n in PROBE_LENGTHS]]
    if not fitting:
        findings.problem(
            f"{graph.path.name} makes {lengths} encoder frames of {list(PROBE_LENGTHS)} feature frames, which is "
            f"neither zipformer2 nor conformer"
        )
        return None
    kind, front_end = fitting[0]
    stated = model.metadata.get("model_type", kind)
    if not stated.startswith(kind.removesuffix("2")):
        findings.problem(f"{graph.path.name}: its metadata say {stated}, its encoder frames are those of a {kind}")
        return None
    ctc = is_ctc(graph)
    return OfflineSpec(
        family=_family(kind, ctc),
        encoder=graph.path,
        subsampling=front_end[0],
        context=front_end[1],
        num_bins=bins[0],
        output_size=None if ctc else size,
        vocab_size=size if ctc else None,
        # Conformers have a table of positions; looking for its end would cost attention over all of it.
        position_limit_frames=common.position_limit(
            inspection.manifest, lambda: USUAL_POSITIONS if kind == "conformer" else None, 0, 1
        ),
        is_batchable=batchable and names.lengths is not None,
        float_type=model.inputs[names.features].dtype.name,
        head="ctc" if ctc else "transducer",
        names=names,
    )


def _names(graph: Graph) -> Names:
    features, *lengths = graph.model.inputs
    out, *out_lengths = graph.model.outputs
    return Names(
        features=features,
        lengths=lengths[0] if lengths else None,
        out=out,
        out_lengths=out_lengths[0] if out_lengths else None,
    )


def _count(pair: tuple[int, int], frames: int) -> int:
    subsampling, context = pair
    return (frames - context) // subsampling + 1


def _family(kind: str, ctc: bool) -> Family:
    if ctc:
        return "K3"
    return "K1" if kind == "zipformer2" else "K6"
