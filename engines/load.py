"""From a description to a model that runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from engines.description import ModelDescription, OfflineSpec, SecondPassSpec, StreamingSpec
from engines.encoder import StreamingEncoder
from engines.errors import BadModel
from engines.icefall_offline import IcefallOfflineCtc, IcefallOfflineEncoder
from engines.icefall_streaming import IcefallCtcEncoder, IcefallStreamingEncoder
from engines.language_model import fitted_lm, fitted_lodr
from engines.offline import OfflineEncoder, open_offline
from engines.offline_transducer import OfflineTransducer
from engines.ort import OrtOptions
from engines.recordings import OfflineCtc, OfflineEngine
from engines.rescoring import Rescorer
from engines.second_pass import SecondPass
from engines.sidefiles import read_tokens
from engines.streaming import StreamingCtc, StreamingEngine
from engines.streaming_transducer import StreamingTransducer
from engines.transducer_networks import OrtNetworks
from engines.wenet_cpu import WenetCpuEncoder
from engines.wenet_streaming import WenetStreamingEncoder
from speech.biasing import FittedLm, Lodr
from speech.tokens import TokenTable

Count = Annotated[int, Meta(ge=1)]
DEFAULT_LM_WEIGHTS = (0.2, 1.5)  # weight and bonus; the best of docs/benchmarks.md, and model.toml's defaults


class EngineOptions(Struct, frozen=True, kw_only=True):
    """Sizes and threads of one model's engines. `threads` 0 takes every processor."""

    num_slots: Count = 64
    max_batch: Count = 16
    offline_batch: Count = 8
    rescoring_batch: Count = 8
    threads: Annotated[int, Meta(ge=0)] = 0
    spinning: bool = False
    provider: str = "CPUExecutionProvider"
    rewrite: bool = True

    @property
    def ort(self) -> OrtOptions:
        """Return the graphs' share of the options."""
        return OrtOptions(
            intra_threads=self.threads, allow_spinning=self.spinning, provider=self.provider, rewrite=self.rewrite
        )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to run. `streaming` and `offline` have a thread of their own each, `rescorer` has several."""

    description: ModelDescription
    tokens: TokenTable
    streaming: StreamingEngine | None
    offline: OfflineEngine | None
    rescorer: Rescorer | None
    lm: FittedLm | None = None
    lm_weights: tuple[float, float] = DEFAULT_LM_WEIGHTS
    lodr: Lodr | None = None


def load(description: ModelDescription, options: EngineOptions) -> LoadedModel:
    """Load the graphs of a described folder and allocate its streams; blocks for seconds. Raises BadModel."""
    description.require_usable()
    assert description.tokens_path is not None, "a folder without tokens has a problem"
    tokens = read_tokens(description.tokens_path)
    rescorer, lm = None, description.language_model
    # One encoder for recordings and for segments that are heard anew.
    is_ctc = description.offline is not None and description.offline.head == "ctc"
    encoder = _open_offline(description, options) if is_ctc else None
    if description.rescoring is not None:
        second = _second_pass(description.second_pass, tokens, options, encoder)
        rescorer = Rescorer(description.rescoring, options.rescoring_batch, options.ort, second)
    return LoadedModel(
        description=description,
        tokens=tokens,
        streaming=None if description.streaming is None else load_streaming(description, tokens, options),
        offline=None if description.offline is None else _offline(description, tokens, rescorer, encoder, options),
        rescorer=rescorer,
        lm=None if lm is None else fitted_lm(lm.path, tokens),
        lm_weights=DEFAULT_LM_WEIGHTS if lm is None else (lm.weight, lm.bonus),
    )


def _second_pass(
    spec: SecondPassSpec | None, tokens: TokenTable, options: EngineOptions, encoder: OfflineEncoder | None
) -> SecondPass | None:
    return None if spec is None else SecondPass(spec, tokens, read_tokens(spec.units), options.ort, encoder)


def with_lm(loaded: LoadedModel, path: Path) -> LoadedModel:
    """Give a model a language model, unless it has its own. Raises BadModel where it cannot be read or does not fit."""
    if loaded.lm is not None:
        return loaded
    return replace(loaded, lm=fitted_lm(path, loaded.tokens))


def with_lodr(loaded: LoadedModel, path: Path) -> LoadedModel:
    """Give a transducer the bigram that requests may have subtracted. Raises BadModel where it does not fit."""
    if loaded.description.transducer is None:
        raise BadModel(f"{path}: LODR is for transducers, which {loaded.description.name} is not")
    return replace(loaded, lodr=fitted_lodr(path, loaded.tokens))


def load_streaming(description: ModelDescription, tokens: TokenTable, options: EngineOptions) -> StreamingEngine:
    """Load the streaming half alone: another engine of the same model. Raises BadModel."""
    spec = description.streaming
    assert spec is not None, "asked for a streaming half that exists"
    if spec.head == "transducer":
        assert description.transducer is not None, "a folder without decoder and joiner has a problem"
        return StreamingTransducer(
            IcefallStreamingEncoder(spec, options.num_slots, options.max_batch, options.ort),
            OrtNetworks(description.transducer, options.ort),
            spec.framing(description.fbank),
            description.transducer.start_context,
            _unk_id(tokens),
        )
    return StreamingCtc(
        _open_streaming(spec, options),
        spec.framing(description.fbank),
        num_tokens=len(tokens),
        blank_id=tokens.blank_id,
        position_limit_frames=spec.position_limit_frames,
    )


def _open_streaming(spec: StreamingSpec, options: EngineOptions) -> StreamingEncoder:
    if spec.family == "W2":
        return WenetStreamingEncoder(spec, options.num_slots, options.max_batch, options.ort)
    if spec.names is not None:
        return IcefallCtcEncoder(IcefallStreamingEncoder(spec, options.num_slots, options.max_batch, options.ort))
    return WenetCpuEncoder(spec, options.num_slots, options.ort)


def _unk_id(tokens: TokenTable) -> int:
    return -1 if tokens.unk_id is None else tokens.unk_id


def _offline(
    description: ModelDescription,
    tokens: TokenTable,
    rescorer: Rescorer | None,
    encoder: OfflineEncoder | None,
    options: EngineOptions,
) -> OfflineEngine:
    spec = description.offline
    assert isinstance(spec, OfflineSpec), "asked for an offline half that exists"
    if spec.head == "transducer":
        assert description.transducer is not None, "a folder without decoder and joiner has a problem"
        return OfflineTransducer(
            IcefallOfflineEncoder(spec, options.offline_batch, description.fbank.row_pad_value, options.ort),
            OrtNetworks(description.transducer, options.ort),
            description.fbank,
            subsampling=spec.subsampling,
            context=spec.context,
            start_context=description.transducer.start_context,
            unk_id=_unk_id(tokens),
            position_limit_frames=spec.position_limit_frames,
        )
    assert encoder is not None, "what has no transducer's head is CTC"
    return OfflineCtc(
        encoder,
        description.fbank,
        subsampling=spec.subsampling,
        context=spec.context,
        num_tokens=len(tokens),
        blank_id=tokens.blank_id,
        position_limit_frames=spec.position_limit_frames,
        rescorer=rescorer,
    )


def _open_offline(description: ModelDescription, options: EngineOptions) -> OfflineEncoder:
    spec, pad_value = description.offline, description.fbank.row_pad_value
    assert spec is not None, "asked for an offline half that exists"
    if spec.names is not None:
        return IcefallOfflineCtc(IcefallOfflineEncoder(spec, options.offline_batch, pad_value, options.ort))
    return open_offline(spec, options.offline_batch, pad_value, options.ort)
