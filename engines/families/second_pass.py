"""Second passes of our own exporter (recipes/second_pass/export.py), named in model.toml beside a W1 or W2 decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines import sidefiles
from engines.description import OfflineSpec, RescoringSpec, SecondPassSpec, StreamingSpec
from engines.errors import BadModel
from engines.families import common
from engines.families.common import Findings, Graph, Wanted
from engines.manifest import SecondPassManifest
from engines.ort import Array, OrtModel, OrtOptions
from speech.features import FbankConfig
from speech.tokens import TokenTable

MEMORY_INPUTS: Wanted = {"encoder_out": ("float", 2)}
MEMORY_OUTPUTS: Wanted = {"keys": ("float", 4), "values": ("float", 4), "ctc_log_probs": ("float", 2)}
DECODER_INPUTS: Wanted = {
    "memory_keys": ("float", 4),
    "memory_values": ("float", 4),
    "tokens": ("int", 1),
    "depths": ("int", 1),
    "seen": ("float", 2),
    "past_keys": ("float", 4),
    "past_values": ("float", 4),
}
DECODER_OUTPUTS: Wanted = {"log_probs": ("float", 2), "keys": ("float", 4), "values": ("float", 4)}
_PROBE_FRAMES = 8
_LOOK = OrtOptions(optimise=False)


def describe(
    folder: Path, stated: SecondPassManifest, rescoring: RescoringSpec | None, tokens: TokenTable,
    streaming: StreamingSpec | None, offline: OfflineSpec | None, fbank: FbankConfig, findings: Findings,
) -> SecondPassSpec | None:  # fmt: skip
    """Describe what [second_pass] names; None after adding a problem."""
    half = streaming or offline
    assert half is not None, "a second pass follows a first one"
    frame_ms = half.subsampling * fbank.frame_shift_ms
    if rescoring is None or rescoring.output_size is None:
        findings.problem("model.toml: [second_pass] stands beside an attention decoder ([decoder]), which is missing")
        return None
    memory, decoder = (_open(folder / name, findings) for name in (stated.memory, stated.decoder))
    units = sidefiles.try_read_tokens(folder / stated.units, findings)
    if memory is None or decoder is None or units is None:
        return None
    if stated.full_context and not _hears_alike(streaming, offline, fbank, findings):
        return None
    if not _fits(memory, decoder, rescoring.output_size, len(tokens), units, findings):
        return None
    return SecondPassSpec(
        memory=memory.path,
        decoder=decoder.path,
        units=folder / stated.units,
        frame_ms=frame_ms,
        beam_size=stated.beam_size,
        num_read=stated.hypotheses,
        ctc_weight=stated.ctc_weight,
        lm_scale=stated.lm_scale,
        max_frames=max(1, round(1000 * stated.max_seconds / frame_ms)),
        encoder=offline if stated.full_context else None,
    )


def _hears_alike(
    streaming: StreamingSpec | None, offline: OfflineSpec | None, fbank: FbankConfig, findings: Findings
) -> bool:
    """Whether the offline encoder, given a stream's features, makes the frames that the stream has counted."""
    why = None
    if offline is None or offline.output_size is None:
        why = "there is none"
    elif fbank.style == "whisper":
        why = "Whisper's features are normalised over whole recordings, which a stream's are not"
    elif streaming is not None and (streaming.subsampling, streaming.context) != (offline.subsampling, offline.context):
        why = (
            f"its subsampling and context are {offline.subsampling} and {offline.context}, "
            f"those of the streaming one {streaming.subsampling} and {streaming.context}"
        )
    elif streaming is not None and (streaming.partial_frames != "exact" or streaming.tail_context is not None):
        why = "the streaming one counts frames of its last window that have no features of their own"
    if why is not None:
        findings.problem(f"model.toml: [second_pass] full_context wants an [offline] encoder: {why}")
    return why is None


def _open(path: Path, findings: Findings) -> Graph | None:
    try:
        return Graph(path, OrtModel(path, _LOOK), "second pass", {}, {})
    except BadModel as error:
        findings.problem(str(error))
        return None


def _fits(memory: Graph, decoder: Graph, width: int, num_tokens: int, units: TokenTable, findings: Findings) -> bool:
    """Run both graphs one behind the other, and compare what they give with both token tables."""
    before = len(findings.problems)
    common.check_tensors(memory, MEMORY_INPUTS, MEMORY_OUTPUTS, {}, findings)
    common.check_tensors(decoder, DECODER_INPUTS, DECODER_OUTPUTS, {}, findings)
    if len(findings.problems) > before:
        return False
    made = common.try_run(
        memory, {"encoder_out": np.zeros((_PROBE_FRAMES, width), np.float32)}, findings,
        f"{width} values per encoder frame, as the encoders make",
    )  # fmt: skip
    read = None if made is None else common.try_run(decoder, probe(made, units.sos_id), findings)
    if made is None or read is None:
        return False
    for graph, found, wanted in (
        (memory, made["ctc_log_probs"].shape[1], num_tokens),
        (decoder, read["log_probs"].shape[1], len(units)),
    ):
        if found != wanted:
            findings.problem(f"{graph.path.name} scores {found} tokens, its token file has {wanted}")
    return len(findings.problems) == before


def probe(made: dict[str, Array], sos: int) -> dict[str, Array]:
    """Return inputs of the decoder that read the sentence start, from a memory's outputs."""
    layers, heads, _, size = made["keys"].shape
    past = np.zeros((layers, heads, 0, size), np.float32)
    return {
        "memory_keys": made["keys"],
        "memory_values": made["values"],
        "tokens": np.array([sos]),
        "depths": np.zeros(1, np.int64),
        "seen": np.ones((1, 1), np.float32),
        "past_keys": past,
        "past_values": past,
    }
