"""Attention decoders: W1 and W2's weighs inside and names the best hypothesis, W3's returns all scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.description import RescoringSpec
from engines.families import common
from engines.families.common import Findings, Graph, Inspection, Wanted
from engines.manifest import DecoderManifest
from engines.ort import Array
from speech.search.options import DEFAULT_BEAM
from speech.tokens import TokenTable

BEST_INDEX_INPUTS: Wanted = {
    "encoder_out": ("float", 3),
    "encoder_out_lens": ("int", 1),
    "hyps_pad_sos_eos": ("int", 3),
    "hyps_lens_sos": ("int", 2),
    "ctc_score": ("float", 2),
}
# Absent when the graph was exported with a reverse weight of 0, whatever train.yaml says of the decoder.
BEST_INDEX_OPTIONAL: Wanted = {"r_hyps_pad_sos_eos": ("int", 3)}
SCORES_INPUTS: Wanted = {"hyps": ("int", 2), "hyps_lens": ("int", 1), "encoder_out": ("float", 3)}
DEFAULT_CTC_WEIGHT = 0.5  # of WeNet's C++ runtime (params.h)
_PROBE_FRAMES = 8


def describe(graph: Graph, tokens: TokenTable, inspection: Inspection, output_size: int | None) -> RescoringSpec | None:
    """Describe a decoder that will read encoder outputs of `output_size`; None after adding a problem."""
    best_index = graph.role == "best-index decoder"
    findings = inspection.findings
    checked = (
        common.check_tensors(graph, BEST_INDEX_INPUTS, {"best_index": ("int", 1)}, BEST_INDEX_OPTIONAL, findings)
        if best_index
        else common.check_tensors(graph, SCORES_INPUTS, {"score": ("float", 3)}, {}, findings)
    )
    if not checked:
        return None
    width = graph.model.inputs["encoder_out"].size(2) or output_size
    if output_size is not None and width != output_size:
        findings.problem(f"{graph.path.name} takes {width} values per encoder frame, the encoder makes {output_size}")
        return None
    batchable = common.is_batchable(graph, "encoder_out", findings) if best_index else False
    if width is None or batchable is None:
        return None
    beam = graph.model.inputs["hyps_pad_sos_eos"].size(1) if best_index else None
    probe = best_index_probe(width, beam or 2) if best_index else scores_probe(width)
    if common.try_run(graph, probe(0), findings) is None or not _knows_tokens(graph, probe, len(tokens), findings):
        return None
    ctc_weight, reverse_weight = _weights(graph, inspection.manifest.decoder)
    sos, eos = _sentence_tokens(graph, tokens, findings)
    return RescoringSpec(
        kind="best_index" if best_index else "scores",
        decoder=graph.path,
        is_bidirectional=_is_bidirectional(graph, probe),
        ctc_weight=ctc_weight,
        reverse_weight=reverse_weight,
        sos=sos,
        eos=eos,
        beam=beam,
        beam_size=inspection.manifest.decoder.beam_size if inspection.manifest.decoder else DEFAULT_BEAM,
        output_size=width,
        is_batchable=batchable,
        float_type=common.float_type(graph.model),
    )


def best_index_probe(width: int, beam: int) -> Callable[[int], dict[str, Array]]:
    """Return a maker of inputs in which every token is the given id."""

    def feeds(token: int) -> dict[str, Array]:
        hypotheses = np.full((1, beam, 3), token, np.int64)
        return {
            "encoder_out": np.zeros((1, _PROBE_FRAMES, width), np.float32),
            "encoder_out_lens": np.full(1, _PROBE_FRAMES, np.int32),
            "hyps_pad_sos_eos": hypotheses,
            "r_hyps_pad_sos_eos": hypotheses,
            "hyps_lens_sos": np.full((1, beam), 2, np.int32),
            "ctc_score": np.zeros((1, beam), np.float32),
        }

    return feeds


def scores_probe(width: int) -> Callable[[int], dict[str, Array]]:
    """As `best_index_probe`, for W3's decoder."""

    def feeds(token: int) -> dict[str, Array]:
        return {
            "encoder_out": np.zeros((1, _PROBE_FRAMES, width), np.float32),
            "hyps": np.full((2, 3), token, np.int64),
            "hyps_lens": np.full(2, 3, np.int64),
        }

    return feeds


def _knows_tokens(graph: Graph, probe: Callable[[int], dict[str, Array]], num_tokens: int, findings: Findings) -> bool:
    """Find the decoder's vocabulary by the ids that it accepts: no declared shape tells it."""
    if not common.runs(graph, probe(num_tokens - 1)):
        findings.problem(f"{graph.path.name} knows fewer tokens than the {num_tokens} of the token file")
        return False
    if common.runs(graph, probe(num_tokens)):
        findings.problem(f"{graph.path.name} knows more tokens than the {num_tokens} of the token file")
        return False
    return True


def _is_bidirectional(graph: Graph, probe: Callable[[int], dict[str, Array]]) -> bool:
    if graph.role == "best-index decoder":
        return "r_hyps_pad_sos_eos" in graph.model.inputs
    # Without a reverse decoder r_score is a lone zero.
    return "r_score" in graph.model.outputs and graph.model.run(probe(0))["r_score"].ndim == 3


def _weights(graph: Graph, manifest: DecoderManifest | None) -> tuple[float | None, float | None]:
    """Collect the weights: model.toml, config.yaml (where -1 means not given), train.yaml, in that order.

    W3's weights are not in the graph, so that they have defaults instead.
    """
    training = graph.train.get("model_conf") or {}
    found: list[float | None] = []
    for key in ("ctc_weight", "reverse_weight"):
        stated = getattr(manifest, key) if manifest is not None else None
        sources = [stated, common.as_float(graph.config.get(key)), common.as_float(training.get(key))]
        found.append(next((value for value in sources if value is not None and value >= 0), None))
    if graph.role == "best-index decoder":
        return found[0], found[1] if "r_hyps_pad_sos_eos" in graph.model.inputs else 0.0
    return (DEFAULT_CTC_WEIGHT if found[0] is None else found[0]), (found[1] or 0.0)


def _sentence_tokens(graph: Graph, tokens: TokenTable, findings: Findings) -> tuple[int, int]:
    """Return the ids of sentence start and end: W3's metadata, else by name from the token file."""
    sos, eos = tokens.sos_id, tokens.eos_id
    for name, listed in (("sos_symbol", sos), ("eos_symbol", eos)):
        stated = common.as_int(graph.model.metadata.get(name))
        if stated is not None and stated != listed:
            findings.note(
                f"{graph.path.name}: its metadata state {name} {stated}, the token file {listed}; {stated} counts"
            )
    stated_sos = common.as_int(graph.model.metadata.get("sos_symbol"))
    stated_eos = common.as_int(graph.model.metadata.get("eos_symbol"))
    return (sos if stated_sos is None else stated_sos), (eos if stated_eos is None else stated_eos)
