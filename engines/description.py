"""What inspection finds in a model folder, as plain values for `engines.load` to build from and `report` to show."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from engines.errors import BadModel
from engines.manifest import Family, PartialFrames
from speech.features import FbankConfig
from speech.framing import Framing
from speech.search.options import DEFAULT_BEAM, DEFAULT_PATHS


class StateTensor(Struct, frozen=True, kw_only=True):
    """One encoder cache: the graph's input and output, its shape for one stream (the batch axis is 1) and its type."""

    name: str
    output: str
    shape: tuple[int, ...]
    batch_axis: int
    dtype: str

    @property
    def values(self) -> int:
        """Numbers that one stream's row holds."""
        count = 1
        for size in self.shape:
            count *= size
        return count


Head = Literal["ctc", "transducer"]


class Names(Struct, frozen=True, kw_only=True):
    """What an icefall encoder calls its tensors; exporters and users rename them.

    `lengths` and `out_lengths` are None where the graph has none. `counter`: the input that takes the number of
    frames of the past, which the graph does not return.
    """

    features: str
    lengths: str | None = None
    out: str
    out_lengths: str | None = None
    counter: str | None = None


class StreamingSpec(Struct, frozen=True, kw_only=True):
    """The streaming half. Counts of frames are encoder frames unless said otherwise.

    `context` feature frames give one encoder frame and `subsampling` more each further one; a step adds `chunk`.
    `left_chunks` -1 is all of the past. `candidates` is the graph's own top-k, None where it gives all log-probs.
    `position_limit_frames` can be decoded between two restarts of the encoder; None is no limit.
    """

    family: Family
    encoder: Path
    ctc: Path | None = None
    subsampling: int
    context: int
    chunk: int
    left_chunks: int
    num_bins: int
    output_size: int | None
    vocab_size: int | None
    candidates: int | None = None
    first_offset: int = 0
    position_limit_frames: int | None = None
    partial_frames: PartialFrames = "exact"
    is_batchable: bool = False
    float_type: str = "float32"
    states: tuple[StateTensor, ...] = ()
    head: Head = "ctc"
    names: Names | None = None  # icefall families only
    # Feature frames that give an encoder frame when padding follows them; None: `context`.
    tail_context: int | None = None
    tail_frames: int = 0  # silence heard after the end, in feature frames
    is_strict: bool = False
    drops_tail: bool = False
    counts_features: bool = False

    @property
    def right_context(self) -> int:
        """Feature frames that an encoder frame sees beyond its first."""
        return self.context - 1

    @property
    def window_frames(self) -> int:
        """Feature frames that a step reads."""
        return (self.chunk - 1) * self.subsampling + self.context

    def framing(self, fbank: FbankConfig) -> Framing:
        """Return how steps lie over the features of `fbank`."""
        minimum = {"exact": self.tail_context or self.context, "wenet": self.subsampling, "all": 1}[self.partial_frames]
        return Framing(
            window_frames=self.window_frames,
            stride_frames=self.chunk * self.subsampling,
            subsampling=self.subsampling,
            right_context=self.right_context,
            fbank=fbank,
            min_frames=minimum,
            tail_frames=self.tail_frames,
            is_strict=self.is_strict,
            drops_tail=self.drops_tail,
        )


class OfflineSpec(Struct, frozen=True, kw_only=True):
    """The whole-recording half; fields as in StreamingSpec. `output_size` None: the graph keeps its encoder output."""

    family: Family
    encoder: Path
    ctc: Path | None = None
    subsampling: int
    context: int
    num_bins: int
    output_size: int | None
    vocab_size: int | None
    candidates: int | None = None
    position_limit_frames: int | None = None
    is_batchable: bool = False
    float_type: str = "float32"
    states: tuple[StateTensor, ...] = ()
    head: Head = "ctc"
    names: Names | None = None  # icefall families only


class TransducerSpec(Struct, frozen=True, kw_only=True):
    """Decoder and joiner. `start_context` stands before a stream's first token; -1 is no token.

    `beam_size`: paths of modified_beam_search that a request gets which names none.
    `is_quantised`: its weights were quantised dynamically, so that a row's result depends on its batch.
    """

    decoder: Path
    joiner: Path
    context_size: int
    vocab_size: int
    decoder_size: int
    start_context: tuple[int, ...]
    beam_size: int = DEFAULT_PATHS
    is_quantised: bool = False


class RescoringSpec(Struct, frozen=True, kw_only=True):
    """The attention decoder. `best_index` graphs (W1, W2) weigh inside and name the best; `scores` graphs (W3) do not.

    `ctc_weight` and `reverse_weight` are the model's own, None where baked into the graph and not known. `beam` is the
    number of hypotheses a graph insists on, None where it may vary; `beam_size` what a request gets that names none.
    With `left_tree` (and `right_tree` where it is bidirectional) these run in the decoder's place, with any weights.
    """

    kind: Literal["best_index", "scores"]
    decoder: Path
    left_tree: Path | None = None
    right_tree: Path | None = None
    is_bidirectional: bool
    ctc_weight: float | None = None
    reverse_weight: float | None = None
    sos: int
    eos: int
    beam: int | None = None
    beam_size: int = DEFAULT_BEAM
    output_size: int | None = None
    is_batchable: bool = True
    float_type: str = "float32"


class SecondPassSpec(Struct, frozen=True, kw_only=True):
    """An attention decoder with units of its own, which proposes texts too (engines/second_pass.py).

    `memory` makes of encoder output what `decoder` attends to. `num_read` of the first pass's hypotheses are read, and
    `beam_size` kept in the decoder's own search; segments longer than `max_frames` encoder frames of `frame_ms` are cut
    in pauses. `lm_scale` is the share of the language model's say that is left beside the decoder. With `encoder`, that
    of the offline half, a stream's segments are encoded anew before they are read.
    """

    memory: Path
    decoder: Path
    units: Path
    frame_ms: float
    beam_size: int
    num_read: int
    ctc_weight: float
    lm_scale: float
    max_frames: int
    encoder: OfflineSpec | None = None


class LanguageModelSpec(Struct, frozen=True, kw_only=True):
    """A language model that fits the tokens; `summary` says how, in words."""

    path: Path
    weight: float
    bonus: float
    summary: str


class ModelDescription(Struct, frozen=True, kw_only=True):
    """A model folder, read and checked. It can be loaded when `problems` is empty; `notes` are worth knowing."""

    folder: Path
    name: str
    language: str = ""
    summary: str = ""
    streaming: StreamingSpec | None = None
    offline: OfflineSpec | None = None
    rescoring: RescoringSpec | None = None
    second_pass: SecondPassSpec | None = None
    language_model: LanguageModelSpec | None = None
    transducer: TransducerSpec | None = None
    tokens_path: Path | None = None
    num_tokens: int = 0
    fbank: FbankConfig = FbankConfig()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def require_usable(self) -> None:
        """Raise BadModel with every problem when there is one."""
        if self.problems:
            raise BadModel(f"{self.folder}: " + "; ".join(self.problems))
