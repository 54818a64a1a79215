from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AudioEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[AudioEncoding]
    LINEAR16: _ClassVar[AudioEncoding]
    FLAC: _ClassVar[AudioEncoding]
    MULAW: _ClassVar[AudioEncoding]
    OGG: _ClassVar[AudioEncoding]
    WAV: _ClassVar[AudioEncoding]
    MP3: _ClassVar[AudioEncoding]
    ALAW: _ClassVar[AudioEncoding]
    FLOAT32: _ClassVar[AudioEncoding]

class DecodingMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECODING_METHOD_UNSPECIFIED: _ClassVar[DecodingMethod]
    CTC_GREEDY: _ClassVar[DecodingMethod]
    CTC_PREFIX_BEAM: _ClassVar[DecodingMethod]
    ATTENTION_RESCORING: _ClassVar[DecodingMethod]
    GREEDY_SEARCH: _ClassVar[DecodingMethod]
    MODIFIED_BEAM_SEARCH: _ClassVar[DecodingMethod]
    FAST_BEAM_SEARCH: _ClassVar[DecodingMethod]
    SECOND_PASS: _ClassVar[DecodingMethod]

class HotwordUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOTWORD_UNIT_UNSPECIFIED: _ClassVar[HotwordUnit]
    HOTWORD_CHARACTER: _ClassVar[HotwordUnit]
    HOTWORD_BPE: _ClassVar[HotwordUnit]
ENCODING_UNSPECIFIED: AudioEncoding
LINEAR16: AudioEncoding
FLAC: AudioEncoding
MULAW: AudioEncoding
OGG: AudioEncoding
WAV: AudioEncoding
MP3: AudioEncoding
ALAW: AudioEncoding
FLOAT32: AudioEncoding
DECODING_METHOD_UNSPECIFIED: DecodingMethod
CTC_GREEDY: DecodingMethod
CTC_PREFIX_BEAM: DecodingMethod
ATTENTION_RESCORING: DecodingMethod
GREEDY_SEARCH: DecodingMethod
MODIFIED_BEAM_SEARCH: DecodingMethod
FAST_BEAM_SEARCH: DecodingMethod
SECOND_PASS: DecodingMethod
HOTWORD_UNIT_UNSPECIFIED: HotwordUnit
HOTWORD_CHARACTER: HotwordUnit
HOTWORD_BPE: HotwordUnit

class DecodingConfig(_message.Message):
    __slots__ = ("method", "beam_size", "top_k", "cutoff_probability", "blank_penalty", "ctc_weight", "reverse_weight", "max_symbols", "confidence_temperature", "beam", "max_contexts", "max_states")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    BLANK_PENALTY_FIELD_NUMBER: _ClassVar[int]
    CTC_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    REVERSE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    BEAM_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    MAX_STATES_FIELD_NUMBER: _ClassVar[int]
    method: DecodingMethod
    beam_size: int
    top_k: int
    cutoff_probability: float
    blank_penalty: float
    ctc_weight: float
    reverse_weight: float
    max_symbols: int
    confidence_temperature: float
    beam: float
    max_contexts: int
    max_states: int
    def __init__(self, method: _Optional[_Union[DecodingMethod, str]] = ..., beam_size: _Optional[int] = ..., top_k: _Optional[int] = ..., cutoff_probability: _Optional[float] = ..., blank_penalty: _Optional[float] = ..., ctc_weight: _Optional[float] = ..., reverse_weight: _Optional[float] = ..., max_symbols: _Optional[int] = ..., confidence_temperature: _Optional[float] = ..., beam: _Optional[float] = ..., max_contexts: _Optional[int] = ..., max_states: _Optional[int] = ...) -> None: ...

class EndpointRule(_message.Message):
    __slots__ = ("min_trailing_silence_ms", "min_utterance_ms", "must_contain_text")
    MIN_TRAILING_SILENCE_MS_FIELD_NUMBER: _ClassVar[int]
    MIN_UTTERANCE_MS_FIELD_NUMBER: _ClassVar[int]
    MUST_CONTAIN_TEXT_FIELD_NUMBER: _ClassVar[int]
    min_trailing_silence_ms: int
    min_utterance_ms: int
    must_contain_text: bool
    def __init__(self, min_trailing_silence_ms: _Optional[int] = ..., min_utterance_ms: _Optional[int] = ..., must_contain_text: _Optional[bool] = ...) -> None: ...

class EndpointingConfig(_message.Message):
    __slots__ = ("disabled", "rule1", "rule2", "rule3")
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    RULE1_FIELD_NUMBER: _ClassVar[int]
    RULE2_FIELD_NUMBER: _ClassVar[int]
    RULE3_FIELD_NUMBER: _ClassVar[int]
    disabled: bool
    rule1: EndpointRule
    rule2: EndpointRule
    rule3: EndpointRule
    def __init__(self, disabled: _Optional[bool] = ..., rule1: _Optional[_Union[EndpointRule, _Mapping]] = ..., rule2: _Optional[_Union[EndpointRule, _Mapping]] = ..., rule3: _Optional[_Union[EndpointRule, _Mapping]] = ...) -> None: ...

class Hotword(_message.Message):
    __slots__ = ("phrase", "boost")
    PHRASE_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    phrase: str
    boost: float
    def __init__(self, phrase: _Optional[str] = ..., boost: _Optional[float] = ...) -> None: ...

class HotwordsConfig(_message.Message):
    __slots__ = ("hotwords", "lists", "boost", "unit")
    HOTWORDS_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    hotwords: _containers.RepeatedCompositeFieldContainer[Hotword]
    lists: _containers.RepeatedScalarFieldContainer[str]
    boost: float
    unit: HotwordUnit
    def __init__(self, hotwords: _Optional[_Iterable[_Union[Hotword, _Mapping]]] = ..., lists: _Optional[_Iterable[str]] = ..., boost: _Optional[float] = ..., unit: _Optional[_Union[HotwordUnit, str]] = ...) -> None: ...

class LanguageModelConfig(_message.Message):
    __slots__ = ("disabled", "weight", "bonus", "lodr_weight")
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BONUS_FIELD_NUMBER: _ClassVar[int]
    LODR_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    disabled: bool
    weight: float
    bonus: float
    lodr_weight: float
    def __init__(self, disabled: _Optional[bool] = ..., weight: _Optional[float] = ..., bonus: _Optional[float] = ..., lodr_weight: _Optional[float] = ...) -> None: ...

class SpeakerDiarizationConfig(_message.Message):
    __slots__ = ("enable_speaker_diarization", "min_speaker_count", "max_speaker_count", "speaker_count", "model")
    ENABLE_SPEAKER_DIARIZATION_FIELD_NUMBER: _ClassVar[int]
    MIN_SPEAKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_SPEAKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    enable_speaker_diarization: bool
    min_speaker_count: int
    max_speaker_count: int
    speaker_count: int
    model: str
    def __init__(self, enable_speaker_diarization: _Optional[bool] = ..., min_speaker_count: _Optional[int] = ..., max_speaker_count: _Optional[int] = ..., speaker_count: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class RecognitionConfig(_message.Message):
    __slots__ = ("encoding", "sample_rate_hertz", "language_code", "max_alternatives", "audio_channel_count", "enable_word_time_offsets", "enable_token_time_offsets", "model", "diarization_config", "endpointing_config", "hotwords", "language_model", "decoding")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MAX_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    ENABLE_WORD_TIME_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    ENABLE_TOKEN_TIME_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIARIZATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    HOTWORDS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_MODEL_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    encoding: AudioEncoding
    sample_rate_hertz: int
    language_code: str
    max_alternatives: int
    audio_channel_count: int
    enable_word_time_offsets: bool
    enable_token_time_offsets: bool
    model: str
    diarization_config: SpeakerDiarizationConfig
    endpointing_config: EndpointingConfig
    hotwords: HotwordsConfig
    language_model: LanguageModelConfig
    decoding: DecodingConfig
    def __init__(self, encoding: _Optional[_Union[AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ..., language_code: _Optional[str] = ..., max_alternatives: _Optional[int] = ..., audio_channel_count: _Optional[int] = ..., enable_word_time_offsets: _Optional[bool] = ..., enable_token_time_offsets: _Optional[bool] = ..., model: _Optional[str] = ..., diarization_config: _Optional[_Union[SpeakerDiarizationConfig, _Mapping]] = ..., endpointing_config: _Optional[_Union[EndpointingConfig, _Mapping]] = ..., hotwords: _Optional[_Union[HotwordsConfig, _Mapping]] = ..., language_model: _Optional[_Union[LanguageModelConfig, _Mapping]] = ..., decoding: _Optional[_Union[DecodingConfig, _Mapping]] = ...) -> None: ...

class StreamingRecognitionConfig(_message.Message):
    __slots__ = ("config", "interim_results", "single_utterance")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    INTERIM_RESULTS_FIELD_NUMBER: _ClassVar[int]
    SINGLE_UTTERANCE_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    interim_results: bool
    single_utterance: bool
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., interim_results: _Optional[bool] = ..., single_utterance: _Optional[bool] = ...) -> None: ...

class StreamingRecognizeRequest(_message.Message):
    __slots__ = ("streaming_config", "audio_content")
    STREAMING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    streaming_config: StreamingRecognitionConfig
    audio_content: bytes
    def __init__(self, streaming_config: _Optional[_Union[StreamingRecognitionConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ...) -> None: ...

class StreamingRecognizeResponse(_message.Message):
    __slots__ = ("results", "event", "hotwords")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HOTWORDS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StreamingRecognitionResult]
    event: SpeechEvent
    hotwords: HotwordsReport
    def __init__(self, results: _Optional[_Iterable[_Union[StreamingRecognitionResult, _Mapping]]] = ..., event: _Optional[_Union[SpeechEvent, _Mapping]] = ..., hotwords: _Optional[_Union[HotwordsReport, _Mapping]] = ...) -> None: ...

class HotwordsReport(_message.Message):
    __slots__ = ("num_hotwords", "num_unspellable", "unspellable")
    NUM_HOTWORDS_FIELD_NUMBER: _ClassVar[int]
    NUM_UNSPELLABLE_FIELD_NUMBER: _ClassVar[int]
    UNSPELLABLE_FIELD_NUMBER: _ClassVar[int]
    num_hotwords: int
    num_unspellable: int
    unspellable: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, num_hotwords: _Optional[int] = ..., num_unspellable: _Optional[int] = ..., unspellable: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamingRecognitionResult(_message.Message):
    __slots__ = ("alternatives", "is_final", "stability", "channel_tag", "audio_processed", "segment", "start_ms", "end_ms")
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    STABILITY_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TAG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    alternatives: _containers.RepeatedCompositeFieldContainer[SpeechRecognitionAlternative]
    is_final: bool
    stability: float
    channel_tag: int
    audio_processed: float
    segment: int
    start_ms: int
    end_ms: int
    def __init__(self, alternatives: _Optional[_Iterable[_Union[SpeechRecognitionAlternative, _Mapping]]] = ..., is_final: _Optional[bool] = ..., stability: _Optional[float] = ..., channel_tag: _Optional[int] = ..., audio_processed: _Optional[float] = ..., segment: _Optional[int] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ...) -> None: ...

class SpeechRecognitionAlternative(_message.Message):
    __slots__ = ("transcript", "confidence", "words", "tokens", "score", "hotword_score", "lm_score")
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    HOTWORD_SCORE_FIELD_NUMBER: _ClassVar[int]
    LM_SCORE_FIELD_NUMBER: _ClassVar[int]
    transcript: str
    confidence: float
    words: _containers.RepeatedCompositeFieldContainer[WordInfo]
    tokens: _containers.RepeatedCompositeFieldContainer[WordInfo]
    score: float
    hotword_score: float
    lm_score: float
    def __init__(self, transcript: _Optional[str] = ..., confidence: _Optional[float] = ..., words: _Optional[_Iterable[_Union[WordInfo, _Mapping]]] = ..., tokens: _Optional[_Iterable[_Union[WordInfo, _Mapping]]] = ..., score: _Optional[float] = ..., hotword_score: _Optional[float] = ..., lm_score: _Optional[float] = ...) -> None: ...

class WordInfo(_message.Message):
    __slots__ = ("start_ms", "end_ms", "word", "confidence", "speaker_tag")
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_TAG_FIELD_NUMBER: _ClassVar[int]
    start_ms: int
    end_ms: int
    word: str
    confidence: float
    speaker_tag: int
    def __init__(self, start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ..., word: _Optional[str] = ..., confidence: _Optional[float] = ..., speaker_tag: _Optional[int] = ...) -> None: ...

class SpeechEvent(_message.Message):
    __slots__ = ("type", "time_ms", "channel_tag", "rule")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[SpeechEvent.Type]
        SPEECH_START: _ClassVar[SpeechEvent.Type]
        ENDPOINT: _ClassVar[SpeechEvent.Type]
        END_OF_STREAM: _ClassVar[SpeechEvent.Type]
    TYPE_UNSPECIFIED: SpeechEvent.Type
    SPEECH_START: SpeechEvent.Type
    ENDPOINT: SpeechEvent.Type
    END_OF_STREAM: SpeechEvent.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TAG_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    type: SpeechEvent.Type
    time_ms: int
    channel_tag: int
    rule: str
    def __init__(self, type: _Optional[_Union[SpeechEvent.Type, str]] = ..., time_ms: _Optional[int] = ..., channel_tag: _Optional[int] = ..., rule: _Optional[str] = ...) -> None: ...

class RecognizeRequest(_message.Message):
    __slots__ = ("config", "audio", "priority", "queue_timeout_ms")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio: bytes
    priority: int
    queue_timeout_ms: int
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio: _Optional[bytes] = ..., priority: _Optional[int] = ..., queue_timeout_ms: _Optional[int] = ...) -> None: ...

class RecognizeResponse(_message.Message):
    __slots__ = ("results", "audio_processed", "hotwords")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    HOTWORDS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SpeechRecognitionResult]
    audio_processed: float
    hotwords: HotwordsReport
    def __init__(self, results: _Optional[_Iterable[_Union[SpeechRecognitionResult, _Mapping]]] = ..., audio_processed: _Optional[float] = ..., hotwords: _Optional[_Union[HotwordsReport, _Mapping]] = ...) -> None: ...

class SpeechRecognitionResult(_message.Message):
    __slots__ = ("alternatives", "channel_tag", "start_ms", "end_ms")
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TAG_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    alternatives: _containers.RepeatedCompositeFieldContainer[SpeechRecognitionAlternative]
    channel_tag: int
    start_ms: int
    end_ms: int
    def __init__(self, alternatives: _Optional[_Iterable[_Union[SpeechRecognitionAlternative, _Mapping]]] = ..., channel_tag: _Optional[int] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "language_code", "is_default", "streaming", "offline", "methods", "sample_rate_hertz", "chunk_ms", "vocabulary_size", "has_language_model")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    STREAMING_FIELD_NUMBER: _ClassVar[int]
    OFFLINE_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_LANGUAGE_MODEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    language_code: str
    is_default: bool
    streaming: bool
    offline: bool
    methods: _containers.RepeatedScalarFieldContainer[DecodingMethod]
    sample_rate_hertz: int
    chunk_ms: int
    vocabulary_size: int
    has_language_model: bool
    def __init__(self, name: _Optional[str] = ..., language_code: _Optional[str] = ..., is_default: _Optional[bool] = ..., streaming: _Optional[bool] = ..., offline: _Optional[bool] = ..., methods: _Optional[_Iterable[_Union[DecodingMethod, str]]] = ..., sample_rate_hertz: _Optional[int] = ..., chunk_ms: _Optional[int] = ..., vocabulary_size: _Optional[int] = ..., has_language_model: _Optional[bool] = ...) -> None: ...
