"""Proto messages to domain values and back. Every limit of the wire is checked here, and named in the complaint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, Protocol

import msgspec

from protos import recognizer_pb2 as pb
from server.convert_biasing import hotwords_request, lm_weights, lodr_weight
from server.convert_speakers import speaker_tag_options
from server.errors import BadRequest
from server.options import MAX_CHANNELS, AudioFormat, DecodingOptions, RecognitionOptions
from server.ranges import finite_in_range, in_range
from speech.audio import Encoding
from speech.endpoint import EndpointConfig, EndpointRule
from speech.recognition import ResultOptions
from speech.results import Alternative, EventKind, Result, SpeechEvent, Token, Word
from speech.search.options import DEFAULT_BEAM, MAX_BEAM, SearchOptions
from speech.search.transducer.options import LIMITS, TransducerOptions

RATES = (8000, 48000)
MAX_ALTERNATIVES = 32
MAX_PRIORITY = 1000
DAY_MS = 86_400_000

# Fields of DecodingConfig to those of TransducerOptions, and which of them a method reads.
TRANSDUCER_FIELDS = {
    "beam_size": "beam_size",
    "blank_penalty": "blank_penalty",
    "max_symbols": "max_symbols",
    "confidence_temperature": "temperature",
    "beam": "beam",
    "max_contexts": "max_contexts",
    "max_states": "max_states",
}
_FIELDS_OF = {option: field for field, option in TRANSDUCER_FIELDS.items()}
_ALL = {"blank_penalty", "confidence_temperature"}
ATTENTION_METHODS = ("attention_rescoring", "second_pass")
TRANSDUCER_METHODS = {
    "greedy_search": _ALL | {"max_symbols"},
    "modified_beam_search": _ALL | {"beam_size"},
    "fast_beam_search": _ALL | {"beam", "max_contexts", "max_states"},
}
CTC_FIELDS = {"top_k", "cutoff_probability"}

ENCODINGS = {
    pb.ENCODING_UNSPECIFIED: Encoding.AUTO,
    pb.LINEAR16: Encoding.LINEAR16,
    pb.FLAC: Encoding.FLAC,
    pb.MULAW: Encoding.MULAW,
    pb.OGG: Encoding.OGG,
    pb.WAV: Encoding.WAV,
    pb.MP3: Encoding.MP3,
    pb.ALAW: Encoding.ALAW,
    pb.FLOAT32: Encoding.FLOAT32,
}
EVENTS = {
    EventKind.SPEECH_START: pb.SpeechEvent.SPEECH_START,
    EventKind.ENDPOINT: pb.SpeechEvent.ENDPOINT,
    EventKind.END: pb.SpeechEvent.END_OF_STREAM,
}


class ModelFacts(Protocol):
    """What the conversion has to know of a model."""

    @property
    def name(self) -> str: ...
    @property
    def methods(self) -> tuple[str, ...]: ...
    @property
    def top_k(self) -> int: ...
    @property
    def rescoring_beam(self) -> int: ...
    @property
    def transducer_paths(self) -> int: ...
    @property
    def lm_weights(self) -> tuple[float, float] | None: ...
    @property
    def has_lodr(self) -> bool: ...
    @property
    def keeps_bonus(self) -> bool: ...
    @property
    def endpoint_rules(self) -> EndpointConfig: ...
    def check_weights(self, ctc_weight: float | None, reverse_weight: float | None) -> None: ...


def recognition_options(
    config: pb.RecognitionConfig, model: ModelFacts, *, interim_results: bool = False, single_utterance: bool = False
) -> RecognitionOptions:
    """Check `config` against `model` and the wire's limits. Raises BadRequest naming the field and what is allowed."""
    decoding = _biased(config, _decoding(config.decoding, model), model)
    speaker_tags = speaker_tag_options(config.diarization_config)
    return RecognitionOptions(
        model=model.name,
        audio=audio_format(config),
        decoding=decoding,
        endpoint=_endpoint(config.endpointing_config, model.endpoint_rules),
        results=ResultOptions(
            max_alternatives=in_range("max_alternatives", config.max_alternatives, 0, MAX_ALTERNATIVES) or 1,
            interim_results=interim_results,
            word_times=config.enable_word_time_offsets or speaker_tags is not None,
            token_times=config.enable_token_time_offsets,
            single_utterance=single_utterance,
            rescoring=decoding.rescoring,
        ),
        speaker_tags=speaker_tags,
    )


def unary_options(request: pb.RecognizeRequest, model: ModelFacts) -> RecognitionOptions:
    """Check a unary request, as `recognition_options` does, and how it wants to queue. Raises BadRequest."""
    return replace(
        recognition_options(request.config, model),
        priority=in_range("priority", request.priority, 0, MAX_PRIORITY),
        queue_timeout_ms=in_range("queue_timeout_ms", request.queue_timeout_ms, 0, DAY_MS) or None,
    )


def audio_format(config: pb.RecognitionConfig) -> AudioFormat:
    """Read how the call's bytes are encoded."""
    encoding = ENCODINGS.get(config.encoding)
    if encoding is None:
        raise BadRequest(f"encoding {config.encoding} is unknown; allowed: {', '.join(pb.AudioEncoding.keys())}")
    rate = config.sample_rate_hertz
    if not (rate == 0 and encoding.is_container) and not RATES[0] <= rate <= RATES[1]:
        or_zero = ", or 0 for the file's own" if encoding.is_container else f" for {encoding.name}, which has no header"
        raise BadRequest(f"sample_rate_hertz is {rate}; allowed: {RATES[0]} to {RATES[1]}{or_zero}")
    channels = in_range("audio_channel_count", config.audio_channel_count, 0, MAX_CHANNELS)
    return AudioFormat(encoding, rate, channels or (0 if encoding.is_container else 1))


def _decoding(config: pb.DecodingConfig, model: ModelFacts) -> DecodingOptions:
    method = _method(config.method, model)
    weights = [_weight(config, name, method) for name in ("ctc_weight", "reverse_weight")]
    if method == "attention_rescoring":
        model.check_weights(*weights)
    if method in TRANSDUCER_METHODS:
        return DecodingOptions(_transducer_search(config, method, model.transducer_paths), rescoring=False)
    _refuse_fields(config, TRANSDUCER_FIELDS.keys() - {"beam_size", "blank_penalty"}, method)
    beam_size = in_range("decoding.beam_size", config.beam_size, 0, MAX_BEAM)
    beam_size = beam_size or (model.rescoring_beam if method == "attention_rescoring" else DEFAULT_BEAM)
    top_k = in_range("decoding.top_k", config.top_k, 0, model.top_k) or model.top_k
    search = SearchOptions(
        method="ctc_greedy" if method == "ctc_greedy" else "ctc_prefix_beam",
        beam_size=beam_size,
        top_k=top_k,
        cutoff_prob=finite_in_range("decoding.cutoff_probability", config.cutoff_probability, 0.0, 1.0) or 1.0,
        blank_penalty=finite_in_range("decoding.blank_penalty", config.blank_penalty, -100.0, 100.0),
    )
    return DecodingOptions(
        search,
        rescoring=method in ATTENTION_METHODS,
        second_pass=method == "second_pass",
        ctc_weight=weights[0],
        reverse_weight=weights[1],
    )


def _biased(config: pb.RecognitionConfig, decoding: DecodingOptions, model: ModelFacts) -> DecodingOptions:
    """Add what hotwords and language model were asked for."""
    hotwords = hotwords_request(config.hotwords, decoding.search.method)
    weights = lm_weights(config.language_model, model.lm_weights, model.name)
    subtracted = lodr_weight(config.language_model, decoding.search.method, model.name, model.has_lodr)
    if subtracted and weights is None:
        raise BadRequest(f"language_model.lodr_weight is {subtracted:g}, but no language model is used")
    if decoding.search.method in ("ctc_greedy", "greedy_search"):
        weights = None
    if decoding.rescoring and not decoding.second_pass and not model.keeps_bonus:
        if hotwords is not None:
            raise BadRequest(
                f"hotwords have no say in ATTENTION_RESCORING by model {model.name}, whose graph gives the search's "
                "scores no weight; use CTC_PREFIX_BEAM"
            )
        weights = None
    weight, bonus = weights or (0.0, 0.0)
    return replace(
        decoding,
        hotwords=hotwords,
        use_lm=weights is not None,
        lm_weight=weight,
        lm_bonus=bonus,
        lodr_weight=subtracted,
    )


def _transducer_search(config: pb.DecodingConfig, method: str, paths: int) -> TransducerOptions:
    """Read a transducer's options; 0 leaves a field at its default. The fields of other searches are refused."""
    _refuse_fields(config, CTC_FIELDS | (TRANSDUCER_FIELDS.keys() - TRANSDUCER_METHODS[method]), method)
    asked = {TRANSDUCER_FIELDS[name]: getattr(config, name) for name in TRANSDUCER_FIELDS if getattr(config, name)}
    for name, value in asked.items():
        least, most = LIMITS[name]
        finite_in_range(f"decoding.{_FIELDS_OF[name]}", value, least, most)
    return msgspec.convert({"method": method, "beam_size": paths, **asked}, TransducerOptions)


def _refuse_fields(config: pb.DecodingConfig, names: Iterable[str], method: str) -> None:
    for name in sorted(names):
        if getattr(config, name):
            raise BadRequest(f"decoding.{name} has no meaning with {method.upper()}")


def _method(number: int, model: ModelFacts) -> str:
    if number == pb.DECODING_METHOD_UNSPECIFIED:
        return model.methods[0]
    allowed = ", ".join(method.upper() for method in model.methods)
    if number not in pb.DecodingMethod.values():
        raise BadRequest(f"decoding.method {number} is unknown; model {model.name} allows: {allowed}")
    method = pb.DecodingMethod.Name(pb.DecodingMethod.ValueType(number)).lower()
    if method not in model.methods:
        raise BadRequest(
            f"decoding.method {method.upper()} is not possible with model {model.name}; allowed: {allowed}"
        )
    return method


def _weight(config: pb.DecodingConfig, name: Literal["ctc_weight", "reverse_weight"], method: str) -> float | None:
    if not config.HasField(name):
        return None
    methods = ATTENTION_METHODS if name == "ctc_weight" else ATTENTION_METHODS[:1]
    if method not in methods:
        allowed = " and ".join(each.upper() for each in methods)
        raise BadRequest(f"decoding.{name} has a meaning only with {allowed}; the method is {method.upper()}")
    value: float = getattr(config, name)
    return finite_in_range(f"decoding.{name}", value, 0.0, 1.0 if name == "reverse_weight" else 100.0)


def _endpoint(config: pb.EndpointingConfig, default: EndpointConfig) -> EndpointConfig:
    return EndpointConfig(
        enabled=not config.disabled,
        rule1=_rule("rule1", config.rule1) if config.HasField("rule1") else default.rule1,
        rule2=_rule("rule2", config.rule2) if config.HasField("rule2") else default.rule2,
        rule3=_rule("rule3", config.rule3) if config.HasField("rule3") else default.rule3,
    )


def _rule(name: str, rule: pb.EndpointRule) -> EndpointRule:
    path = f"endpointing_config.{name}"
    silence = in_range(f"{path}.min_trailing_silence_ms", rule.min_trailing_silence_ms, 0, 3_600_000)
    utterance = in_range(f"{path}.min_utterance_ms", rule.min_utterance_ms, 0, 3_600_000)
    if silence == 0 and utterance == 0:
        raise BadRequest(
            f"{path} would end every segment at once: min_trailing_silence_ms and min_utterance_ms are both 0"
        )
    return EndpointRule(
        min_trailing_silence_ms=silence, min_utterance_ms=utterance, must_contain_text=rule.must_contain_text
    )


def streaming_result(result: Result, channel_tag: int) -> pb.StreamingRecognizeResponse:
    """One result of one channel as a response message."""
    message = pb.StreamingRecognitionResult(
        alternatives=[alternative(each) for each in result.alternatives],
        is_final=result.is_final,
        stability=result.stability,
        channel_tag=channel_tag,
        audio_processed=result.audio_processed_ms / 1000,
        segment=result.segment,
        start_ms=result.start_ms,
        end_ms=result.end_ms,
    )
    return pb.StreamingRecognizeResponse(results=[message])


def speech_event(event: SpeechEvent, channel_tag: int) -> pb.StreamingRecognizeResponse:
    """One event of one channel as a response message."""
    message = pb.SpeechEvent(
        type=EVENTS[event.kind], time_ms=event.time_ms, channel_tag=channel_tag, rule=event.rule or ""
    )
    return pb.StreamingRecognizeResponse(event=message)


def offline_result(result: Result, channel_tag: int) -> pb.SpeechRecognitionResult:
    """One piece of a unary request's audio as a result message."""
    return pb.SpeechRecognitionResult(
        alternatives=[alternative(each) for each in result.alternatives],
        channel_tag=channel_tag,
        start_ms=result.start_ms,
        end_ms=result.end_ms,
    )


def alternative(one: Alternative) -> pb.SpeechRecognitionAlternative:
    """One alternative of a result, words and tokens included."""
    return pb.SpeechRecognitionAlternative(
        transcript=one.text,
        confidence=one.confidence,
        words=[_word(word) for word in one.words],
        tokens=[_token(token) for token in one.tokens],
        score=one.score,
        hotword_score=one.hotword_score,
        lm_score=one.lm_score,
    )


def _word(word: Word) -> pb.WordInfo:
    return pb.WordInfo(
        word=word.text,
        start_ms=word.start_ms,
        end_ms=word.end_ms,
        confidence=word.confidence,
        speaker_tag=word.speaker,
    )


def _token(token: Token) -> pb.WordInfo:
    return pb.WordInfo(word=token.text, start_ms=token.start_ms, end_ms=token.end_ms, confidence=token.confidence)
