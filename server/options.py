"""What one call asked for, checked and in domain terms: no proto below this line."""

from __future__ import annotations

from dataclasses import dataclass

from speech.audio import Encoding
from speech.endpoint import EndpointConfig
from speech.recognition import ResultOptions
from speech.search.options import SearchOptions

MAX_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How the bytes of a call are to be read; 0 channels or rate means: whatever the container says."""

    encoding: Encoding
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """The search, and the second pass over its n-best list."""

    search: SearchOptions
    rescoring: bool
    ctc_weight: float | None = None
    reverse_weight: float | None = None


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """Everything a call asked for, for the model it will run on."""

    model: str
    audio: AudioFormat
    decoding: DecodingOptions
    endpoint: EndpointConfig
    results: ResultOptions
