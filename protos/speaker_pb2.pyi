from protos import recognizer_pb2 as _recognizer_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DiarizationPreset(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRESET_UNSPECIFIED: _ClassVar[DiarizationPreset]
    PRESET_CHORUS: _ClassVar[DiarizationPreset]
    PRESET_WESPEAKER: _ClassVar[DiarizationPreset]
    PRESET_3D_SPEAKER: _ClassVar[DiarizationPreset]
PRESET_UNSPECIFIED: DiarizationPreset
PRESET_CHORUS: DiarizationPreset
PRESET_WESPEAKER: DiarizationPreset
PRESET_3D_SPEAKER: DiarizationPreset

class SpeakerAudioConfig(_message.Message):
    __slots__ = ("encoding", "sample_rate_hertz", "audio_channel_count", "channel", "model", "region")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    encoding: _recognizer_pb2.AudioEncoding
    sample_rate_hertz: int
    audio_channel_count: int
    channel: int
    model: str
    region: AudioRegion
    def __init__(self, encoding: _Optional[_Union[_recognizer_pb2.AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ..., audio_channel_count: _Optional[int] = ..., channel: _Optional[int] = ..., model: _Optional[str] = ..., region: _Optional[_Union[AudioRegion, _Mapping]] = ...) -> None: ...

class AudioRegion(_message.Message):
    __slots__ = ("start_ms", "end_ms")
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    start_ms: int
    end_ms: int
    def __init__(self, start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ...) -> None: ...

class EmbeddingOptions(_message.Message):
    __slots__ = ("trim_silence", "vad_threshold", "normalize", "min_speech_ms")
    TRIM_SILENCE_FIELD_NUMBER: _ClassVar[int]
    VAD_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_SPEECH_MS_FIELD_NUMBER: _ClassVar[int]
    trim_silence: bool
    vad_threshold: float
    normalize: bool
    min_speech_ms: int
    def __init__(self, trim_silence: _Optional[bool] = ..., vad_threshold: _Optional[float] = ..., normalize: _Optional[bool] = ..., min_speech_ms: _Optional[int] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("config", "options", "audio")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    config: SpeakerAudioConfig
    options: EmbeddingOptions
    audio: bytes
    def __init__(self, config: _Optional[_Union[SpeakerAudioConfig, _Mapping]] = ..., options: _Optional[_Union[EmbeddingOptions, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class EmbedStreamConfig(_message.Message):
    __slots__ = ("config", "options")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    config: SpeakerAudioConfig
    options: EmbeddingOptions
    def __init__(self, config: _Optional[_Union[SpeakerAudioConfig, _Mapping]] = ..., options: _Optional[_Union[EmbeddingOptions, _Mapping]] = ...) -> None: ...

class EmbedStreamRequest(_message.Message):
    __slots__ = ("config", "audio_content")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    config: EmbedStreamConfig
    audio_content: bytes
    def __init__(self, config: _Optional[_Union[EmbedStreamConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embedding", "dimension", "model", "fingerprint", "audio_seconds", "speech_seconds", "quality", "num_windows", "filled_share")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    NUM_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    FILLED_SHARE_FIELD_NUMBER: _ClassVar[int]
    embedding: _containers.RepeatedScalarFieldContainer[float]
    dimension: int
    model: str
    fingerprint: str
    audio_seconds: float
    speech_seconds: float
    quality: EmbeddingQuality
    num_windows: int
    filled_share: float
    def __init__(self, embedding: _Optional[_Iterable[float]] = ..., dimension: _Optional[int] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., audio_seconds: _Optional[float] = ..., speech_seconds: _Optional[float] = ..., quality: _Optional[_Union[EmbeddingQuality, _Mapping]] = ..., num_windows: _Optional[int] = ..., filled_share: _Optional[float] = ...) -> None: ...

class EmbeddingQuality(_message.Message):
    __slots__ = ("level", "snr_db", "clipped_share", "level_db")
    class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LEVEL_UNSPECIFIED: _ClassVar[EmbeddingQuality.Level]
        GOOD: _ClassVar[EmbeddingQuality.Level]
        FAIR: _ClassVar[EmbeddingQuality.Level]
        POOR: _ClassVar[EmbeddingQuality.Level]
    LEVEL_UNSPECIFIED: EmbeddingQuality.Level
    GOOD: EmbeddingQuality.Level
    FAIR: EmbeddingQuality.Level
    POOR: EmbeddingQuality.Level
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    CLIPPED_SHARE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_DB_FIELD_NUMBER: _ClassVar[int]
    level: EmbeddingQuality.Level
    snr_db: float
    clipped_share: float
    level_db: float
    def __init__(self, level: _Optional[_Union[EmbeddingQuality.Level, str]] = ..., snr_db: _Optional[float] = ..., clipped_share: _Optional[float] = ..., level_db: _Optional[float] = ...) -> None: ...

class Voiceprint(_message.Message):
    __slots__ = ("embedding", "fingerprint")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    embedding: _containers.RepeatedScalarFieldContainer[float]
    fingerprint: str
    def __init__(self, embedding: _Optional[_Iterable[float]] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class SpeakerKey(_message.Message):
    __slots__ = ("speaker_id", "gallery")
    SPEAKER_ID_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    speaker_id: str
    gallery: str
    def __init__(self, speaker_id: _Optional[str] = ..., gallery: _Optional[str] = ...) -> None: ...

class VoiceAudio(_message.Message):
    __slots__ = ("config", "options", "content")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    config: SpeakerAudioConfig
    options: EmbeddingOptions
    content: bytes
    def __init__(self, config: _Optional[_Union[SpeakerAudioConfig, _Mapping]] = ..., options: _Optional[_Union[EmbeddingOptions, _Mapping]] = ..., content: _Optional[bytes] = ...) -> None: ...

class Voice(_message.Message):
    __slots__ = ("audio", "voiceprint", "speaker")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    VOICEPRINT_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    audio: VoiceAudio
    voiceprint: Voiceprint
    speaker: SpeakerKey
    def __init__(self, audio: _Optional[_Union[VoiceAudio, _Mapping]] = ..., voiceprint: _Optional[_Union[Voiceprint, _Mapping]] = ..., speaker: _Optional[_Union[SpeakerKey, _Mapping]] = ...) -> None: ...

class ScoreNormalization(_message.Message):
    __slots__ = ("cohort", "gallery", "top_n")
    COHORT_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    cohort: _containers.RepeatedCompositeFieldContainer[Voiceprint]
    gallery: str
    top_n: int
    def __init__(self, cohort: _Optional[_Iterable[_Union[Voiceprint, _Mapping]]] = ..., gallery: _Optional[str] = ..., top_n: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("enrolment", "test", "model", "threshold", "normalization")
    ENROLMENT_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    enrolment: Voice
    test: Voice
    model: str
    threshold: float
    normalization: ScoreNormalization
    def __init__(self, enrolment: _Optional[_Union[Voice, _Mapping]] = ..., test: _Optional[_Union[Voice, _Mapping]] = ..., model: _Optional[str] = ..., threshold: _Optional[float] = ..., normalization: _Optional[_Union[ScoreNormalization, _Mapping]] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("score", "normalized_score", "threshold", "is_same_speaker", "model", "fingerprint", "enrolment", "test", "cohort_size")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    IS_SAME_SPEAKER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ENROLMENT_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    COHORT_SIZE_FIELD_NUMBER: _ClassVar[int]
    score: float
    normalized_score: float
    threshold: float
    is_same_speaker: bool
    model: str
    fingerprint: str
    enrolment: EmbedResponse
    test: EmbedResponse
    cohort_size: int
    def __init__(self, score: _Optional[float] = ..., normalized_score: _Optional[float] = ..., threshold: _Optional[float] = ..., is_same_speaker: _Optional[bool] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., enrolment: _Optional[_Union[EmbedResponse, _Mapping]] = ..., test: _Optional[_Union[EmbedResponse, _Mapping]] = ..., cohort_size: _Optional[int] = ...) -> None: ...

class EnrollRequest(_message.Message):
    __slots__ = ("speaker_id", "gallery", "voices", "model", "replace", "metadata", "min_consistency")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SPEAKER_ID_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    VOICES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    MIN_CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    speaker_id: str
    gallery: str
    voices: _containers.RepeatedCompositeFieldContainer[Voice]
    model: str
    replace: bool
    metadata: _containers.ScalarMap[str, str]
    min_consistency: float
    def __init__(self, speaker_id: _Optional[str] = ..., gallery: _Optional[str] = ..., voices: _Optional[_Iterable[_Union[Voice, _Mapping]]] = ..., model: _Optional[str] = ..., replace: _Optional[bool] = ..., metadata: _Optional[_Mapping[str, str]] = ..., min_consistency: _Optional[float] = ...) -> None: ...

class EnrollResponse(_message.Message):
    __slots__ = ("speaker", "voices", "consistency")
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    VOICES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    speaker: SpeakerEntry
    voices: _containers.RepeatedCompositeFieldContainer[EmbedResponse]
    consistency: float
    def __init__(self, speaker: _Optional[_Union[SpeakerEntry, _Mapping]] = ..., voices: _Optional[_Iterable[_Union[EmbedResponse, _Mapping]]] = ..., consistency: _Optional[float] = ...) -> None: ...

class SpeakerEntry(_message.Message):
    __slots__ = ("speaker_id", "gallery", "num_voices", "speech_seconds", "model", "fingerprint", "created_unix_ms", "updated_unix_ms", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SPEAKER_ID_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    NUM_VOICES_FIELD_NUMBER: _ClassVar[int]
    SPEECH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    speaker_id: str
    gallery: str
    num_voices: int
    speech_seconds: float
    model: str
    fingerprint: str
    created_unix_ms: int
    updated_unix_ms: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, speaker_id: _Optional[str] = ..., gallery: _Optional[str] = ..., num_voices: _Optional[int] = ..., speech_seconds: _Optional[float] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., created_unix_ms: _Optional[int] = ..., updated_unix_ms: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class IdentifyRequest(_message.Message):
    __slots__ = ("voice", "gallery", "model", "max_candidates", "threshold", "normalization")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    gallery: str
    model: str
    max_candidates: int
    threshold: float
    normalization: ScoreNormalization
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ..., gallery: _Optional[str] = ..., model: _Optional[str] = ..., max_candidates: _Optional[int] = ..., threshold: _Optional[float] = ..., normalization: _Optional[_Union[ScoreNormalization, _Mapping]] = ...) -> None: ...

class IdentifyResponse(_message.Message):
    __slots__ = ("candidates", "speaker_id", "threshold", "num_speakers", "model", "fingerprint", "voice")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_ID_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    NUM_SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    speaker_id: str
    threshold: float
    num_speakers: int
    model: str
    fingerprint: str
    voice: EmbedResponse
    def __init__(self, candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., speaker_id: _Optional[str] = ..., threshold: _Optional[float] = ..., num_speakers: _Optional[int] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., voice: _Optional[_Union[EmbedResponse, _Mapping]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("speaker_id", "score", "normalized_score", "is_accepted")
    SPEAKER_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_SCORE_FIELD_NUMBER: _ClassVar[int]
    IS_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    speaker_id: str
    score: float
    normalized_score: float
    is_accepted: bool
    def __init__(self, speaker_id: _Optional[str] = ..., score: _Optional[float] = ..., normalized_score: _Optional[float] = ..., is_accepted: _Optional[bool] = ...) -> None: ...

class ListSpeakersRequest(_message.Message):
    __slots__ = ("gallery", "page_size", "page_token")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    page_size: int
    page_token: str
    def __init__(self, gallery: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSpeakersResponse(_message.Message):
    __slots__ = ("speakers", "next_page_token", "num_speakers")
    SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NUM_SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    speakers: _containers.RepeatedCompositeFieldContainer[SpeakerEntry]
    next_page_token: str
    num_speakers: int
    def __init__(self, speakers: _Optional[_Iterable[_Union[SpeakerEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., num_speakers: _Optional[int] = ...) -> None: ...

class DeleteSpeakerRequest(_message.Message):
    __slots__ = ("speaker_id", "gallery")
    SPEAKER_ID_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    speaker_id: str
    gallery: str
    def __init__(self, speaker_id: _Optional[str] = ..., gallery: _Optional[str] = ...) -> None: ...

class DeleteSpeakerResponse(_message.Message):
    __slots__ = ("num_voices",)
    NUM_VOICES_FIELD_NUMBER: _ClassVar[int]
    num_voices: int
    def __init__(self, num_voices: _Optional[int] = ...) -> None: ...

class DiarizationConfig(_message.Message):
    __slots__ = ("preset", "num_speakers", "min_speakers", "max_speakers", "vad_threshold", "cluster_threshold", "merge_threshold", "window_ms", "period_ms", "merge_gap_ms", "min_duration_ms", "overlap", "gallery", "name_threshold", "return_embeddings")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    NUM_SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    MIN_SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    MAX_SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    VAD_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MERGE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_MS_FIELD_NUMBER: _ClassVar[int]
    MERGE_GAP_MS_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    NAME_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    RETURN_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    preset: DiarizationPreset
    num_speakers: int
    min_speakers: int
    max_speakers: int
    vad_threshold: float
    cluster_threshold: float
    merge_threshold: float
    window_ms: int
    period_ms: int
    merge_gap_ms: int
    min_duration_ms: int
    overlap: bool
    gallery: str
    name_threshold: float
    return_embeddings: bool
    def __init__(self, preset: _Optional[_Union[DiarizationPreset, str]] = ..., num_speakers: _Optional[int] = ..., min_speakers: _Optional[int] = ..., max_speakers: _Optional[int] = ..., vad_threshold: _Optional[float] = ..., cluster_threshold: _Optional[float] = ..., merge_threshold: _Optional[float] = ..., window_ms: _Optional[int] = ..., period_ms: _Optional[int] = ..., merge_gap_ms: _Optional[int] = ..., min_duration_ms: _Optional[int] = ..., overlap: _Optional[bool] = ..., gallery: _Optional[str] = ..., name_threshold: _Optional[float] = ..., return_embeddings: _Optional[bool] = ...) -> None: ...

class DiarizeRequest(_message.Message):
    __slots__ = ("config", "diarization", "audio")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    DIARIZATION_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    config: SpeakerAudioConfig
    diarization: DiarizationConfig
    audio: bytes
    def __init__(self, config: _Optional[_Union[SpeakerAudioConfig, _Mapping]] = ..., diarization: _Optional[_Union[DiarizationConfig, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class DiarizeResponse(_message.Message):
    __slots__ = ("segments", "speakers", "audio_seconds", "speech_seconds", "model", "fingerprint", "num_windows", "filled_share")
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    NUM_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    FILLED_SHARE_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[DiarizationSegment]
    speakers: _containers.RepeatedCompositeFieldContainer[DiarizedSpeaker]
    audio_seconds: float
    speech_seconds: float
    model: str
    fingerprint: str
    num_windows: int
    filled_share: float
    def __init__(self, segments: _Optional[_Iterable[_Union[DiarizationSegment, _Mapping]]] = ..., speakers: _Optional[_Iterable[_Union[DiarizedSpeaker, _Mapping]]] = ..., audio_seconds: _Optional[float] = ..., speech_seconds: _Optional[float] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., num_windows: _Optional[int] = ..., filled_share: _Optional[float] = ...) -> None: ...

class DiarizationSegment(_message.Message):
    __slots__ = ("start_ms", "end_ms", "speaker", "is_overlap", "confidence")
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    IS_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    start_ms: int
    end_ms: int
    speaker: int
    is_overlap: bool
    confidence: float
    def __init__(self, start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ..., speaker: _Optional[int] = ..., is_overlap: _Optional[bool] = ..., confidence: _Optional[float] = ...) -> None: ...

class DiarizedSpeaker(_message.Message):
    __slots__ = ("speaker", "seconds", "num_segments", "speaker_id", "name_score", "embedding")
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    NUM_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_SCORE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    speaker: int
    seconds: float
    num_segments: int
    speaker_id: str
    name_score: float
    embedding: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, speaker: _Optional[int] = ..., seconds: _Optional[float] = ..., num_segments: _Optional[int] = ..., speaker_id: _Optional[str] = ..., name_score: _Optional[float] = ..., embedding: _Optional[_Iterable[float]] = ...) -> None: ...

class DiarizeStreamConfig(_message.Message):
    __slots__ = ("config", "diarization")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    DIARIZATION_FIELD_NUMBER: _ClassVar[int]
    config: SpeakerAudioConfig
    diarization: DiarizationConfig
    def __init__(self, config: _Optional[_Union[SpeakerAudioConfig, _Mapping]] = ..., diarization: _Optional[_Union[DiarizationConfig, _Mapping]] = ...) -> None: ...

class DiarizeStreamRequest(_message.Message):
    __slots__ = ("config", "audio_content")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    config: DiarizeStreamConfig
    audio_content: bytes
    def __init__(self, config: _Optional[_Union[DiarizeStreamConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ...) -> None: ...

class DiarizeStreamResponse(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: DiarizationProgress
    result: DiarizeResponse
    def __init__(self, progress: _Optional[_Union[DiarizationProgress, _Mapping]] = ..., result: _Optional[_Union[DiarizeResponse, _Mapping]] = ...) -> None: ...

class DiarizationProgress(_message.Message):
    __slots__ = ("stage", "audio_seconds", "speech_seconds", "windows_done", "windows_total")
    class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STAGE_UNSPECIFIED: _ClassVar[DiarizationProgress.Stage]
        LISTENING: _ClassVar[DiarizationProgress.Stage]
        EMBEDDING: _ClassVar[DiarizationProgress.Stage]
        CLUSTERING: _ClassVar[DiarizationProgress.Stage]
        SEGMENTING: _ClassVar[DiarizationProgress.Stage]
    STAGE_UNSPECIFIED: DiarizationProgress.Stage
    LISTENING: DiarizationProgress.Stage
    EMBEDDING: DiarizationProgress.Stage
    CLUSTERING: DiarizationProgress.Stage
    SEGMENTING: DiarizationProgress.Stage
    STAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_DONE_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    stage: DiarizationProgress.Stage
    audio_seconds: float
    speech_seconds: float
    windows_done: int
    windows_total: int
    def __init__(self, stage: _Optional[_Union[DiarizationProgress.Stage, str]] = ..., audio_seconds: _Optional[float] = ..., speech_seconds: _Optional[float] = ..., windows_done: _Optional[int] = ..., windows_total: _Optional[int] = ...) -> None: ...

class ListSpeakerModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSpeakerModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[SpeakerModelInfo]
    def __init__(self, models: _Optional[_Iterable[_Union[SpeakerModelInfo, _Mapping]]] = ...) -> None: ...

class SpeakerModelInfo(_message.Message):
    __slots__ = ("name", "is_default", "dimension", "sample_rate_hertz", "family", "fingerprint", "threshold", "min_audio_ms", "has_vad", "has_overlap")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
    HAS_VAD_FIELD_NUMBER: _ClassVar[int]
    HAS_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_default: bool
    dimension: int
    sample_rate_hertz: int
    family: str
    fingerprint: str
    threshold: float
    min_audio_ms: int
    has_vad: bool
    has_overlap: bool
    def __init__(self, name: _Optional[str] = ..., is_default: _Optional[bool] = ..., dimension: _Optional[int] = ..., sample_rate_hertz: _Optional[int] = ..., family: _Optional[str] = ..., fingerprint: _Optional[str] = ..., threshold: _Optional[float] = ..., min_audio_ms: _Optional[int] = ..., has_vad: _Optional[bool] = ..., has_overlap: _Optional[bool] = ...) -> None: ...
