"""Decoder and joiner of a transducer: whether they fit each other, the encoders and the tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.description import OfflineSpec, StreamingSpec, TransducerSpec
from engines.families import common
from engines.families.common import Findings, Graph, Inspection
from engines.ort import Array
from speech.search.options import DEFAULT_PATHS

Half = StreamingSpec | OfflineSpec
QUANTISED = "onnx.infer"  # ONNX Runtime's quantiser leaves this key in the metadata


def describe(
    decoder: Graph | None, joiner: Graph | None, halves: Sequence[Half], inspection: Inspection
) -> TransducerSpec | None:
    """Run decoder and joiner once on what the encoders give; None after adding a problem."""
    findings = inspection.findings
    encoder = halves[0].encoder.name
    for graph, what in ((decoder, "decoder"), (joiner, "joiner")):
        if graph is None:
            findings.problem(
                f"{encoder} is the encoder of a transducer, whose {what} is missing: put {what}.onnx beside it, or "
                f"name it in model.toml ([transducer] {what})"
            )
    if decoder is None or joiner is None:
        return None
    y, context_size = next(iter(decoder.model.inputs)), _context_size(decoder, findings)
    if context_size is None or not _is_batchable(decoder, findings) or not _is_batchable(joiner, findings):
        return None
    decoded = common.try_run(decoder, {y: np.zeros((2, context_size))}, findings)
    if decoded is None:
        return None
    rows = next(iter(decoded.values())).reshape(2, -1)
    logits = _join(joiner, halves, rows, findings)
    if logits is None or not _metadata_agree(decoder, joiner, logits, findings):
        return None
    manifest = inspection.manifest.transducer
    start = (manifest and manifest.start_context) or _usual_start(halves, context_size)
    if len(start) != context_size:
        findings.problem(f"model.toml: start_context {list(start)} has not {context_size} tokens, as the decoder takes")
        return None
    return TransducerSpec(
        decoder=decoder.path,
        joiner=joiner.path,
        context_size=context_size,
        vocab_size=int(logits.shape[1]),
        decoder_size=int(rows.shape[1]),
        start_context=start,
        beam_size=manifest.beam_size if manifest else DEFAULT_PATHS,
        is_quantised=QUANTISED in decoder.model.metadata,
    )


def _usual_start(halves: Sequence[Half], context_size: int) -> tuple[int, ...]:
    """Icefall starts with no token at all before a blank; sherpa's Triton decoders know only real tokens."""
    if any(half.family in ("T1", "T2") for half in halves):
        return (0,) * context_size
    return (*(-1,) * (context_size - 1), 0)


def _context_size(decoder: Graph, findings: Findings) -> int | None:
    declared = next(iter(decoder.model.inputs.values())).size(1)
    stated = common.as_int(decoder.model.metadata.get("context_size"))
    if declared is not None and stated not in (None, declared):
        findings.problem(f"{decoder.path.name} takes {declared} tokens, its metadata say context_size {stated}")
        return None
    if declared is None and stated is None:
        findings.problem(
            f"{decoder.path.name}: neither its input's shape nor its metadata say how many tokens it takes"
        )
    return declared or stated


def _is_batchable(graph: Graph, findings: Findings) -> bool:
    """Refuse graphs for a fixed number of hypotheses: the search asks for as many as there are."""
    fixed = [f"{info.name} {list(info.shape)}" for info in graph.model.inputs.values() if info.size(0) is not None]
    if fixed:
        findings.problem(
            f"{graph.path.name} takes a fixed batch ({', '.join(fixed)}); export it with a dynamic batch axis"
        )
    return not fixed


def _join(joiner: Graph, halves: Sequence[Half], decoded: Array, findings: Findings) -> Array | None:
    names = list(joiner.model.inputs)
    sizes = {half.encoder.name: half.output_size or 0 for half in halves}
    logits = None
    for encoder, size in sizes.items():
        for name, made, by in ((names[0], size, encoder), (names[1], decoded.shape[1], "the decoder")):
            wanted = joiner.model.inputs[name].size(1)
            if wanted not in (None, made):
                findings.problem(
                    f"{joiner.path.name} takes {wanted} values as {name}, {by} makes {made}: they are of two models"
                )
                return None
        feeds: dict[str, Array] = {names[0]: np.zeros((2, size), np.float32), names[1]: decoded}
        outputs = common.try_run(joiner, feeds, findings, f"the output of {encoder} and the decoder")
        if outputs is None:
            return None
        logits = next(iter(outputs.values()))
    return logits


def _metadata_agree(decoder: Graph, joiner: Graph, logits: Array, findings: Findings) -> bool:
    stated = common.as_int(decoder.model.metadata.get("vocab_size"))
    if stated in (None, logits.shape[1]):
        return True
    findings.problem(
        f"{joiner.path.name} scores {logits.shape[1]} tokens, {decoder.path.name} knows {stated}: two models' files"
    )
    return False
