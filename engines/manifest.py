"""`model.toml`: what a model folder says about itself. Every key is optional; graphs are inspected whatever it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from engines.errors import BadModel
from speech.features import PROFILES, FbankConfig
from speech.search.options import DEFAULT_BEAM, DEFAULT_PATHS, MAX_BEAM, MAX_PATHS

FILE_NAME = "model.toml"

Family = Literal["W1", "W2", "W3", "W4", "K1", "K2", "K3", "K4", "K5", "K6", "T1", "T2"]
"""W1 WeNet GPU offline, W2 WeNet GPU streaming, W3 WeNet CPU, W4 sherpa-onnx WeNet CTC. icefall: K1 zipformer2 or
zipformer1, K2 zipformer2 streaming, K3 zipformer2 CTC, K4 zipformer1 streaming, K5 conformer streaming, K6 conformer.
sherpa's Triton exports: T1 conformer streaming, T2 zipformer1 streaming."""
PartialFrames = Literal["exact", "wenet", "all"]
"""Which encoder frames of an incomplete window count: those that hear some of its frames, frames // subsampling, or
all, padding included (sherpa's Triton servers)."""
Weight = Annotated[float, Meta(ge=0.0)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1)]


class EncoderManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One half of a model; paths are relative to the folder. What the graph's side files leave out can be said here."""

    encoder: str
    family: Family | None = None
    ctc: str | None = None  # W3 only
    subsampling: Count | None = None
    right_context: Annotated[int, Meta(ge=0)] | None = None
    chunk: Count | None = None
    left_chunks: Annotated[int, Meta(ge=-1)] | None = None


class DecoderManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attention decoder. Weights baked into a W1 or W2 graph cannot be read from it: state them here.

    `beam_size` is how many hypotheses it weighs when a request does not say. `left_tree` and `right_tree`: graphs of
    the same weights that read all hypotheses as one tree (engines/tree_rescoring.py); then they run in its place.
    """

    path: str
    left_tree: str | None = None
    right_tree: str | None = None
    beam_size: Annotated[int, Meta(ge=1, le=MAX_BEAM)] = DEFAULT_BEAM
    ctc_weight: Weight | None = None
    reverse_weight: Fraction | None = None


class SecondPassManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attention decoder with `units` of its own, exported by recipes/second_pass (docs/adr/0021-second-pass.md).

    `hypotheses` of the first pass are read and `beam_size` kept in its own search. `ctc_weight` multiplies the CTC
    score beside it, `lm_scale` what the language model adds. Segments longer than `max_seconds` are cut in pauses.
    With `full_context` a stream's segment is first encoded anew by the encoder of [offline], which sees all of it.
    """

    memory: str
    decoder: str
    units: str
    beam_size: Annotated[int, Meta(ge=1, le=32)] = 4
    hypotheses: Annotated[int, Meta(ge=1, le=MAX_BEAM)] = 4
    ctc_weight: Weight = 0.2
    lm_scale: Fraction = 0.2
    max_seconds: Annotated[float, Meta(gt=0.0)] = 12.0
    full_context: bool = False


class FeaturesManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A front end: a profile of `speech.features.PROFILES` and what differs from it."""

    profile: str | None = None
    sample_rate: int | None = None
    num_bins: int | None = None
    frame_length_ms: float | None = None
    frame_shift_ms: float | None = None
    scale: float | None = None
    snip_edges: bool | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    window: str | None = None
    preemphasis: float | None = None
    remove_dc: bool | None = None
    log_floor: float | None = None
    pad_value: float | None = None
    dither: float | None = None

    def overrides(self) -> dict[str, Any]:
        """Return the fields that differ from the profile."""
        values = msgspec.structs.asdict(self)
        return {key: value for key, value in values.items() if value is not None and key != "profile"}


class SpeakerManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A speaker model. `subtract_mean`: whether each utterance's mean is taken from its features.

    `threshold`: the cosine from which two voices count as one. `identity` names the weights: embeddings of equal
    identity and front end can be compared, however the graph's file was made; without it the file's bytes count.
    """

    model: str | None = None
    threshold: Annotated[float, Meta(gt=-1.0, lt=1.0)] | None = None
    subtract_mean: bool | None = None
    identity: str | None = None


class TransducerManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decoder and joiner of a transducer. `start_context`: tokens before the first, newest last; -1 is none at all.

    `beam_size` is how many paths modified_beam_search keeps when a request does not say.
    """

    decoder: str
    joiner: str
    beam_size: Annotated[int, Meta(ge=1, le=MAX_PATHS)] = DEFAULT_PATHS
    start_context: tuple[Annotated[int, Meta(ge=-1)], ...] | None = None


class CompatibilityManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How streams of an icefall model are cut. The defaults are right; the others repeat old servers' transcripts.

    `tail_ms` of silence are heard after the end, as transducers speak late. `readiness` "strict" waits for one frame
    more than a window needs, and `end` "drop" loses what does not fill a window (sherpa-onnx). `processed_lens`
    "features" counts K5's past in feature frames, `window` reads as many frames as given (sherpa's T2 recipe: 83, which
    with `partial_frames` "all" gives frames twice). The random noise that sherpa's Python server hears at the end was
    never the same, so it cannot be repeated.
    """

    tail_ms: Annotated[int, Meta(ge=0, le=5000)] = 300
    readiness: Literal["exact", "strict"] = "exact"
    end: Literal["flush", "drop"] = "flush"
    processed_lens: Literal["encoder", "features"] = "encoder"
    window: Count | None = None


class PositionsManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of the positional table, in encoder frames; 0 says that the encoder has no such limit."""

    limit: Annotated[int, Meta(ge=0)]


class LanguageModelManifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An ARPA file (.arpa, .arpa.gz) or KenLM binary that fits the tokens.

    A word of probability p adds weight * ln p + bonus.
    """

    path: str
    weight: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.2
    bonus: Annotated[float, Meta(ge=-20.0, le=20.0)] = 1.5


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of `model.toml`."""

    name: str | None = None
    language: str = ""
    description: str = ""
    tokens: str | None = None
    partial_frames: PartialFrames = "exact"
    streaming: EncoderManifest | None = None
    offline: EncoderManifest | None = None
    decoder: DecoderManifest | None = None
    second_pass: SecondPassManifest | None = None
    speaker: SpeakerManifest | None = None
    transducer: TransducerManifest | None = None
    compatibility: CompatibilityManifest = CompatibilityManifest()
    features: FeaturesManifest = FeaturesManifest()
    positions: PositionsManifest | None = None
    language_model: LanguageModelManifest | None = None

    @property
    def names_graphs(self) -> bool:
        """Whether the graphs are named here, so that the folder is not searched for them."""
        return any(part is not None for part in (self.streaming, self.offline, self.decoder, self.transducer))


def read_manifest(folder: Path) -> Manifest:
    """Read the folder's `model.toml`, or return the defaults when it has none. Raises BadModel naming the wrong key."""
    path = folder / FILE_NAME
    if not path.is_file():
        return Manifest()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BadModel(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadModel(f"{path}: {error}") from error


def fbank_config(features: FeaturesManifest, default: FbankConfig) -> FbankConfig:
    """Apply a profile, if one is named, and the overrides to `default`. Raises BadModel naming the wrong key."""
    if features.profile is not None:
        if features.profile not in PROFILES:
            raise BadModel(f"[features] profile is {features.profile!r}; known profiles are {', '.join(PROFILES)}")
        default = PROFILES[features.profile]
    try:
        return msgspec.convert({**msgspec.structs.asdict(default), **features.overrides()}, FbankConfig)
    except msgspec.ValidationError as error:
        raise BadModel(f"[features] {error}") from error
