"""What a stream tells its listener: hypotheses with times, partial and final results, speech events.

Frozen values only; `speech/recognition.py` decides when they arise. All times are whole milliseconds since the start
of the stream, whatever the segment.
"""

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """One decoded token: the piece as it stands in the token table, its id, and the posterior at its peak frame."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float
    id: int


@dataclass(frozen=True, slots=True)
class Word:
    """One word, or one Chinese or Japanese character; confidence is that of its least certain token.

    `speaker` counts from 1; 0 where nobody was asked for, or nobody heard.
    """

    text: str
    start_ms: int
    end_ms: int
    confidence: float
    speaker: int = 0


@dataclass(frozen=True, slots=True)
class Alternative:
    """One hypothesis of a segment.

    `score` is a natural-log probability from the search, or the combined score after rescoring; alternatives are
    ordered by its sum with `hotword_score` and `lm_score`, which hotwords and language model added. Only the order
    within one result means anything. `confidence` is in [0, 1]. `words` and `tokens` are empty unless asked for.
    """

    text: str
    score: float
    confidence: float
    words: tuple[Word, ...] = ()
    tokens: tuple[Token, ...] = ()
    hotword_score: float = 0.0
    lm_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """A partial (`is_final` false, may still change) or final result of one segment; alternatives come best first.

    `stability` in [0, 1] estimates how likely the text is to stay; finals have 1.0. `segment` counts from 0.
    `audio_processed_ms` is how much of the stream the recogniser had heard when it said this.
    """

    alternatives: tuple[Alternative, ...]
    is_final: bool
    stability: float
    segment: int
    start_ms: int
    end_ms: int
    audio_processed_ms: int


class EventKind(enum.Enum):
    """What happened in the audio, apart from words."""

    SPEECH_START = "speech_start"
    ENDPOINT = "endpoint"
    END = "end"


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Something that happened at `time_ms`; `rule` names the endpoint rule that fired, for ENDPOINT."""

    kind: EventKind
    time_ms: int
    rule: str | None = None
