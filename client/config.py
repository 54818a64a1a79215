"""What a caller may ask of a recognition, and the messages that ask for it. Proto types stay in this package."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from protos import recognizer_pb2 as pb
from speech.errors import BadOption
from speech.hotwords import MAX_FILE_BYTES, Hotword

Method: TypeAlias = Literal[
    "ctc_greedy",
    "ctc_prefix_beam",
    "attention_rescoring",
    "second_pass",
    "greedy_search",
    "modified_beam_search",
    "fast_beam_search",
]
EncodingName: TypeAlias = Literal["auto", "linear16", "float32", "mulaw", "alaw", "wav", "flac", "ogg", "mp3"]

ENCODINGS = {
    "auto": pb.ENCODING_UNSPECIFIED,
    "linear16": pb.LINEAR16,
    "float32": pb.FLOAT32,
    "mulaw": pb.MULAW,
    "alaw": pb.ALAW,
    "wav": pb.WAV,
    "flac": pb.FLAC,
    "ogg": pb.OGG,
    "mp3": pb.MP3,
}
_METHODS = {
    None: pb.DECODING_METHOD_UNSPECIFIED,
    "ctc_greedy": pb.CTC_GREEDY,
    "ctc_prefix_beam": pb.CTC_PREFIX_BEAM,
    "attention_rescoring": pb.ATTENTION_RESCORING,
    "second_pass": pb.SECOND_PASS,
    "greedy_search": pb.GREEDY_SEARCH,
    "modified_beam_search": pb.MODIFIED_BEAM_SEARCH,
    "fast_beam_search": pb.FAST_BEAM_SEARCH,
}
HotwordUnit: TypeAlias = Literal["auto", "character", "bpe"]
_UNITS = {
    "auto": pb.HOTWORD_UNIT_UNSPECIFIED,
    "character": pb.HOTWORD_CHARACTER,
    "bpe": pb.HOTWORD_BPE,
}
METHOD_NAMES = {number: name for name, number in _METHODS.items() if name is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRule:
    """All three conditions together end a segment; times in milliseconds."""

    min_trailing_silence_ms: int = 0
    min_utterance_ms: int = 0
    must_contain_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpointing:
    """Rules that end segments; a rule left None keeps the server's default."""

    disabled: bool = False
    rule1: EndpointRule | None = None
    rule2: EndpointRule | None = None
    rule3: EndpointRule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Search parameters; None leaves the choice to the server."""

    method: Method | None = None
    beam_size: int | None = None
    top_k: int | None = None
    cutoff_probability: float | None = None
    blank_penalty: float | None = None
    ctc_weight: float | None = None
    reverse_weight: float | None = None
    max_symbols: int | None = None
    confidence_temperature: float | None = None
    beam: float | None = None
    max_contexts: int | None = None
    max_states: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hotwords:
    """Phrases to favour, in natural spelling and any case: strings, or `Hotword`s with boosts of their own.

    `boost` (natural log, None: 1.5) is added for each token of a phrase; `lists` are names of lists on the server.
    """

    phrases: tuple[str | Hotword, ...] = ()
    lists: tuple[str, ...] = ()
    boost: float | None = None
    unit: HotwordUnit = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """How much the model's language model counts; None keeps the model's own values."""

    disabled: bool = False
    weight: float | None = None
    bonus: float | None = None
    lodr_weight: float = 0.0
    """Of the server's token bigram, which is subtracted (LODR): transducers' beam searches only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerTags:
    """Whose words they are: how many speakers, where that is known (None leaves it open), by which speaker model.

    For `recognize` only: streams are refused.
    """

    speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One recognition's settings.

    Audio with a header (WAV, FLAC, Ogg, MP3) needs no `encoding`, `sample_rate` or `channels`; the headerless
    encodings need `sample_rate` in hertz. `interim_results` and `single_utterance` matter to streams only; `priority`
    (1 is the highest, 0 the server's default) and `queue_timeout_ms` (0 is the server's) to `recognize` only.
    """

    encoding: EncodingName = "auto"
    sample_rate: int = 0
    channels: int = 0
    model: str = ""
    language: str = ""
    max_alternatives: int = 1
    word_times: bool = False
    token_times: bool = False
    interim_results: bool = True
    single_utterance: bool = False
    decoding: Decoding = field(default_factory=Decoding)
    endpointing: Endpointing | None = None
    hotwords: Hotwords | None = None
    language_model: LanguageModel | None = None
    speaker_tags: SpeakerTags | None = None
    priority: int = 0
    queue_timeout_ms: int = 0


def recognition_config(config: Config) -> pb.RecognitionConfig:
    """Build the message both kinds of call carry. Raises BadOption for an unknown encoding or method."""
    return pb.RecognitionConfig(
        encoding=ENCODINGS[known_encoding(config.encoding)],
        sample_rate_hertz=config.sample_rate,
        language_code=config.language,
        max_alternatives=config.max_alternatives,
        audio_channel_count=config.channels,
        enable_word_time_offsets=config.word_times,
        enable_token_time_offsets=config.token_times,
        model=config.model,
        endpointing_config=_endpointing(config.endpointing),
        decoding=_decoding(config.decoding),
        hotwords=_hotwords(config.hotwords),
        language_model=_language_model(config.language_model),
        diarization_config=_speaker_tags(config.speaker_tags),
    )


def unary_request(config: Config, audio: bytes) -> pb.RecognizeRequest:
    """Build the message of a whole recording."""
    return pb.RecognizeRequest(
        config=recognition_config(config),
        audio=audio,
        priority=config.priority,
        queue_timeout_ms=config.queue_timeout_ms,
    )


def streaming_request(config: Config) -> pb.StreamingRecognizeRequest:
    """Build the first message of a stream, or a later one that changes what may change."""
    streaming = pb.StreamingRecognitionConfig(
        config=recognition_config(config),
        interim_results=config.interim_results,
        single_utterance=config.single_utterance,
    )
    return pb.StreamingRecognizeRequest(streaming_config=streaming)


def _decoding(decoding: Decoding) -> pb.DecodingConfig:
    if decoding.method not in _METHODS:
        raise BadOption(f"unknown method {decoding.method!r}: known are {', '.join(METHOD_NAMES.values())}")
    return pb.DecodingConfig(
        method=_METHODS[decoding.method],
        beam_size=decoding.beam_size or 0,
        top_k=decoding.top_k or 0,
        cutoff_probability=decoding.cutoff_probability or 0.0,
        blank_penalty=decoding.blank_penalty or 0.0,
        ctc_weight=decoding.ctc_weight,
        reverse_weight=decoding.reverse_weight,
        max_symbols=decoding.max_symbols or 0,
        confidence_temperature=decoding.confidence_temperature or 0.0,
        beam=decoding.beam or 0.0,
        max_contexts=decoding.max_contexts or 0,
        max_states=decoding.max_states or 0,
    )


def _hotwords(hotwords: Hotwords | None) -> pb.HotwordsConfig | None:
    if hotwords is None:
        return None
    if hotwords.unit not in _UNITS:
        raise BadOption(f"unknown hotword unit {hotwords.unit!r}: known are {', '.join(_UNITS)}")
    size = sum(len(phrase if isinstance(phrase, str) else phrase.phrase) for phrase in hotwords.phrases)
    if size > MAX_FILE_BYTES:
        raise BadOption(f"hotwords have {size} characters; at most {MAX_FILE_BYTES} are allowed")
    phrases = [phrase if isinstance(phrase, Hotword) else Hotword(phrase) for phrase in hotwords.phrases]
    return pb.HotwordsConfig(
        hotwords=[pb.Hotword(phrase=each.phrase, boost=each.boost or 0.0) for each in phrases],
        lists=hotwords.lists,
        boost=hotwords.boost or 0.0,
        unit=_UNITS[hotwords.unit],
    )


def _language_model(lm: LanguageModel | None) -> pb.LanguageModelConfig | None:
    if lm is None:
        return None
    return pb.LanguageModelConfig(disabled=lm.disabled, weight=lm.weight, bonus=lm.bonus, lodr_weight=lm.lodr_weight)


def _speaker_tags(tags: SpeakerTags | None) -> pb.SpeakerDiarizationConfig | None:
    if tags is None:
        return None
    return pb.SpeakerDiarizationConfig(
        enable_speaker_diarization=True,
        min_speaker_count=tags.min_speakers or 0,
        max_speaker_count=tags.max_speakers or 0,
        speaker_count=tags.speakers or 0,
        model=tags.model,
    )


def known_encoding(name: str) -> str:
    """Return `name` if it is an encoding's. Raises BadOption."""
    if name not in ENCODINGS:
        raise BadOption(f"unknown encoding {name!r}: known are {', '.join(ENCODINGS)}")
    return name


def _endpointing(endpointing: Endpointing | None) -> pb.EndpointingConfig | None:
    if endpointing is None:
        return None
    return pb.EndpointingConfig(
        disabled=endpointing.disabled,
        rule1=_rule(endpointing.rule1),
        rule2=_rule(endpointing.rule2),
        rule3=_rule(endpointing.rule3),
    )


def _rule(rule: EndpointRule | None) -> pb.EndpointRule | None:
    if rule is None:
        return None
    return pb.EndpointRule(
        min_trailing_silence_ms=rule.min_trailing_silence_ms,
        min_utterance_ms=rule.min_utterance_ms,
        must_contain_text=rule.must_contain_text,
    )
