"""A model description in plain words, for people who have just put files in a folder (`chorus models check`)."""

from __future__ import annotations

import msgspec
import numpy as np

from engines.description import (
    ModelDescription,
    OfflineSpec,
    RescoringSpec,
    SecondPassSpec,
    StreamingSpec,
    TransducerSpec,
)
from speech.features import FbankConfig

FAMILIES = {
    "W1": "WeNet GPU export, offline",
    "W2": "WeNet GPU export, streaming",
    "W3": "WeNet CPU export",
    "W4": "sherpa-onnx WeNet CTC export",
    "K1": "icefall zipformer or zipformer2 transducer, offline",
    "K2": "icefall zipformer2 transducer, streaming",
    "K3": "icefall zipformer2 CTC",
    "K4": "icefall zipformer transducer, streaming",
    "K5": "icefall conformer transducer, streaming",
    "K6": "icefall conformer transducer, offline",
    "T1": "sherpa Triton conformer transducer, streaming",
    "T2": "sherpa Triton zipformer transducer, streaming",
}


def describe_text(description: ModelDescription) -> str:
    """Render a description as lines of text: what it is, what works, what is wrong."""
    lines = [f"{description.name}  ({description.folder})"]
    if description.summary:
        lines.append(f"  {description.summary}")
    if description.language:
        lines.append(f"  language    {description.language}")
    lines += _streaming(description.streaming, description.fbank)
    lines += _offline(description.offline, description.fbank)
    lines += _transducer(description.transducer) if description.transducer else _rescoring(description.rescoring)
    lines += _second_pass(description.second_pass)
    lines += _language_model(description)
    lines.append(_tokens(description))
    lines.append(f"  features    {features_text(description.fbank)}")
    lines += [f"  note        {note}" for note in description.notes]
    lines += [f"  problem     {problem}" for problem in description.problems]
    count = len(description.problems)
    lines.append("  ready to serve" if count == 0 else f"  cannot be served: {count} problem{'s' * (count > 1)}")
    return "\n".join(lines)


def describe_json(description: ModelDescription) -> str:
    """Render a description as JSON, for programs; paths are text."""
    return msgspec.json.encode(description, enc_hook=str).decode()


def _streaming(spec: StreamingSpec | None, fbank: FbankConfig) -> list[str]:
    if spec is None:
        return ["  streaming   no"]
    encoder_frame_ms = spec.subsampling * fbank.frame_shift_ms
    left = {-1: "all of the past", 0: "no left context"}.get(spec.left_chunks, f"{spec.left_chunks} chunks of the past")
    limit = "no position limit"
    if spec.position_limit_frames is not None:
        limit = f"encoder restarts after {spec.position_limit_frames * encoder_frame_ms / 1000:.0f} s at most"
    batching = "streams are batched" if spec.is_batchable else "one stream at a time"
    kilobytes = sum(state.values * np.dtype(state.dtype).itemsize for state in spec.states) / 1024
    return [
        f"  streaming   {FAMILIES[spec.family]} ({spec.encoder.name}, {spec.float_type})",
        f"              chunks of {spec.chunk} encoder frames = {spec.chunk * encoder_frame_ms:.0f} ms, windows of "
        f"{spec.window_frames} frames, {left}",
        f"              subsampling {spec.subsampling}, {batching}, {limit}, {kilobytes:.0f} kB of state per stream",
    ]


def _offline(spec: OfflineSpec | None, fbank: FbankConfig) -> list[str]:
    if spec is None:
        return ["  offline     no"]
    batching = "recordings are batched" if spec.is_batchable else "one recording at a time"
    limit = ""
    if spec.position_limit_frames is not None:
        seconds = spec.position_limit_frames * spec.subsampling * fbank.frame_shift_ms / 1000
        limit = f", up to {seconds:.0f} s in one piece"
    return [
        f"  offline     {FAMILIES[spec.family]} ({spec.encoder.name}, {spec.float_type})",
        f"              subsampling {spec.subsampling}, {batching}{limit}",
    ]


def _transducer(spec: TransducerSpec) -> list[str]:
    start = ", ".join("none" if token < 0 else str(token) for token in spec.start_context)
    return [
        f"  transducer  {spec.decoder.name} and {spec.joiner.name}, {spec.vocab_size} tokens, "
        f"context of {spec.context_size}, which begins as [{start}], "
        f"{spec.beam_size} paths"
    ]


def _rescoring(spec: RescoringSpec | None) -> list[str]:
    if spec is None:
        return ["  rescoring   no"]
    sides = "both directions" if spec.is_bidirectional else "left to right"
    weights = [f"{name} weight {value:g}" for name, value in _weights(spec) if value is not None]
    chosen = ", ".join(weights) or "weights fixed in the graph"
    lines = [f"  rescoring   {spec.decoder.name}, {sides}, {spec.beam_size} hypotheses, {chosen}"]
    trees = [path.name for path in (spec.left_tree, spec.right_tree) if path is not None]
    return lines + [f"              run as {' and '.join(trees)}: hypotheses as one prefix tree"] * bool(trees)


def _weights(spec: RescoringSpec) -> list[tuple[str, float | None]]:
    return [("CTC", spec.ctc_weight), ("reverse", spec.reverse_weight)]


def _second_pass(spec: SecondPassSpec | None) -> list[str]:
    if spec is None:
        return []
    return [
        f"  second pass {spec.memory.name} and {spec.decoder.name}, units of {spec.units.name}, {spec.num_read} "
        f"hypotheses read, {spec.beam_size} of its own",
        f"              CTC weight {spec.ctc_weight:g}, language model by {spec.lm_scale:g}, pieces of at most "
        f"{spec.max_frames * spec.frame_ms / 1000:g} s",
        *(["              hears streams' segments anew by " + spec.encoder.encoder.name] if spec.encoder else []),
    ]


def _language_model(description: ModelDescription) -> list[str]:
    spec = description.language_model
    if spec is None:
        return []
    return [
        f"  lm          {spec.path.name}: {spec.summary}",
        f"              weight {spec.weight:g}, bonus {spec.bonus:g}",
    ]


def _tokens(description: ModelDescription) -> str:
    if description.tokens_path is None:
        return "  tokens      none found"
    return f"  tokens      {description.num_tokens} in {description.tokens_path.name}"


def features_text(fbank: FbankConfig) -> str:
    """Render a front end as one line."""
    style = "Whisper's " if fbank.style == "whisper" else ""
    edges = "whole frames only" if fbank.snip_edges else "mirrored edges"
    dither = f", dither {fbank.dither:g}" if fbank.dither else ""
    return (
        f"{style}{fbank.num_bins} mel bins of {fbank.frame_length_ms:g} ms every {fbank.frame_shift_ms:g} ms at "
        f"{fbank.sample_rate} Hz, {fbank.low_hz:g} to {fbank.top_hz:g} Hz, scale {fbank.scale:g}, {edges}{dither}"
    )
