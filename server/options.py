"""What one call asked for, checked and in domain terms: no proto below this line."""

from __future__ import annotations

from dataclasses import dataclass

from speech.audio import Encoding
from speech.biasing import Bias
from speech.biasing.spelling import Unit
from speech.endpoint import EndpointConfig
from speech.hotwords import Hotword
from speech.recognition import ResultOptions
from speech.search.options import SearchOptions
from speech.search.transducer.options import TransducerOptions

MAX_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How the bytes of a call are to be read; 0 channels or rate means: whatever the container says."""

    encoding: Encoding
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class HotwordsRequest:
    """Phrases and named lists to favour; `boost` is for phrases without one of their own."""

    hotwords: tuple[Hotword, ...]
    lists: tuple[str, ...]
    boost: float
    unit: Unit


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """The search, what is added to its scores, and the second pass over its n-best list.

    `rescoring` is a second look by an attention decoder at all; `second_pass`: by one that proposes texts too.
    `bias` is made of `hotwords` and the model's language model by `server/hotwords.py`.
    """

    search: SearchOptions | TransducerOptions
    rescoring: bool
    second_pass: bool = False
    ctc_weight: float | None = None
    reverse_weight: float | None = None
    hotwords: HotwordsRequest | None = None
    use_lm: bool = False
    lm_weight: float = 0.0
    lm_bonus: float = 0.0
    lodr_weight: float = 0.0
    bias: Bias | None = None


@dataclass(frozen=True, slots=True)
class SpeakerTagOptions:
    """Whose words they are: by which speaker model ("" for the default), and how many speakers there can be."""

    model: str = ""
    min_speakers: int | None = None
    max_speakers: int | None = None


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """Everything a call asked for, for the model it will run on."""

    model: str
    audio: AudioFormat
    decoding: DecodingOptions
    endpoint: EndpointConfig
    results: ResultOptions
    speaker_tags: SpeakerTagOptions | None = None
    # Of unary requests, as the dynamic batcher takes them.
    priority: int = 0
    queue_timeout_ms: int | None = None
