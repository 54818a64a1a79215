"""What a caller gets: the values of `speech/results.py` with the channel they belong to, and whole transcripts.

Also the way there from the wire, so that no caller sees a proto type.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from client.config import METHOD_NAMES
from protos import recognizer_pb2 as pb
from speech.results import Alternative, EventKind, Result, SpeechEvent, Token, Word


@dataclass(frozen=True, slots=True)
class StreamResult(Result):
    """A partial or final result of one channel (counted from 1; 0 where the audio has only one)."""

    channel: int = 0

    @property
    def text(self) -> str:
        """The best alternative's text."""
        return self.alternatives[0].text if self.alternatives else ""

    @property
    def words(self) -> tuple[Word, ...]:
        """The best alternative's words; empty unless `word_times` was asked for."""
        return self.alternatives[0].words if self.alternatives else ()


@dataclass(frozen=True, slots=True)
class StreamEvent(SpeechEvent):
    """Something that happened in one channel (counted from 1; 0 where the audio has only one)."""

    channel: int = 0


@dataclass(frozen=True, slots=True)
class HotwordsReport:
    """What became of the hotwords of a configuration; sent only where there were any.

    `unspellable` are the first phrases that the model's tokens cannot write, `num_unspellable` counts all.
    """

    num_hotwords: int
    num_unspellable: int
    unspellable: tuple[str, ...]


Update: TypeAlias = StreamResult | StreamEvent | HotwordsReport


@dataclass(frozen=True, slots=True)
class Said:
    """What one speaker said before another one did. `speaker` counts from 1 in its channel; 0: nobody was heard."""

    speaker: int
    channel: int
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words."""
        return join_texts(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything final about one piece of audio, in the order it was said."""

    results: tuple[StreamResult, ...]
    events: tuple[StreamEvent, ...] = ()
    audio_ms: int = 0
    hotwords: HotwordsReport | None = None

    @property
    def channels(self) -> tuple[int, ...]:
        """Channel tags in order; (0,) for audio with one channel, also when nothing was said."""
        tags = {result.channel for result in self.results} | {event.channel for event in self.events}
        return tuple(sorted(tags)) or (0,)

    @property
    def text(self) -> str:
        """The text of all channels, one after the other."""
        return join_texts(self.text_of(channel) for channel in self.channels)

    def text_of(self, channel: int) -> str:
        """The text of one channel."""
        return join_texts(result.text for result in self.results if result.channel == channel)

    def said(self, channel: int = 0) -> tuple[Said, ...]:
        """Who said what in one channel, of recordings that were recognised with `speaker_tags`."""
        words = [word for result in self.results if result.channel == channel for word in result.words]
        runs = groupby(words, key=lambda word: word.speaker)
        return tuple(Said(speaker, channel, tuple(run)) for speaker, run in runs)


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a server; `chunk_ms` is the audio each streaming step adds."""

    name: str
    language: str
    is_default: bool
    streaming: bool
    offline: bool
    methods: tuple[str, ...]
    sample_rate: int
    chunk_ms: int
    vocabulary_size: int
    has_language_model: bool = False


def transcript(updates: Iterable[Update]) -> Transcript:
    """Keep what is final of a stream's updates."""
    results = []
    events = []
    audio_ms = 0
    hotwords = None
    for update in updates:
        if isinstance(update, HotwordsReport):
            hotwords = update
        elif isinstance(update, StreamEvent):
            events.append(update)
            audio_ms = max(audio_ms, update.time_ms)
        else:
            audio_ms = max(audio_ms, update.audio_processed_ms)
            if update.is_final:
                results.append(update)
    return Transcript(tuple(results), tuple(events), audio_ms, hotwords)


def join_texts(texts: Iterable[str]) -> str:
    """Join segments' texts by spaces, but leave none between Chinese or Japanese characters."""
    joined = ""
    for text in filter(None, texts):
        glue = " " if joined and not (_is_cjk(joined[-1]) and _is_cjk(text[0])) else ""
        joined += glue + text
    return joined


def from_response(response: pb.StreamingRecognizeResponse) -> list[Update]:
    """Read one message of a stream."""
    updates: list[Update] = [_streaming_result(result) for result in response.results]
    if response.HasField("event") and response.event.type in _EVENT_KINDS:
        updates.append(_event(response.event))
    if response.HasField("hotwords"):
        updates.append(_hotwords(response.hotwords))
    return updates


def from_recognize_response(response: pb.RecognizeResponse) -> Transcript:
    """Read the reply to a unary call; segments are counted per channel."""
    audio_ms = _milliseconds(response.audio_processed)
    counts: dict[int, int] = {}
    results = []
    for result in response.results:
        segment = counts.get(result.channel_tag, 0)
        counts[result.channel_tag] = segment + 1
        results.append(
            StreamResult(
                alternatives=_alternatives(result.alternatives),
                is_final=True,
                stability=1.0,
                segment=segment,
                start_ms=result.start_ms,
                end_ms=result.end_ms,
                audio_processed_ms=audio_ms,
                channel=result.channel_tag,
            )
        )
    hotwords = _hotwords(response.hotwords) if response.HasField("hotwords") else None
    return Transcript(tuple(results), (), audio_ms, hotwords)


def from_model_info(info: pb.ModelInfo) -> Model:
    """Read one line of the server's list of models."""
    return Model(
        name=info.name,
        language=info.language_code,
        is_default=info.is_default,
        streaming=info.streaming,
        offline=info.offline,
        methods=tuple(METHOD_NAMES[number] for number in info.methods if number in METHOD_NAMES),
        sample_rate=info.sample_rate_hertz,
        chunk_ms=info.chunk_ms,
        vocabulary_size=info.vocabulary_size,
        has_language_model=info.has_language_model,
    )


def _streaming_result(result: pb.StreamingRecognitionResult) -> StreamResult:
    return StreamResult(
        alternatives=_alternatives(result.alternatives),
        is_final=result.is_final,
        stability=1.0 if result.is_final else result.stability,
        segment=result.segment,
        start_ms=result.start_ms,
        end_ms=result.end_ms,
        audio_processed_ms=_milliseconds(result.audio_processed),
        channel=result.channel_tag,
    )


def _alternatives(alternatives: Iterable[pb.SpeechRecognitionAlternative]) -> tuple[Alternative, ...]:
    return tuple(
        Alternative(
            text=alternative.transcript,
            score=alternative.score,
            hotword_score=alternative.hotword_score,
            lm_score=alternative.lm_score,
            confidence=alternative.confidence,
            words=tuple(Word(w.word, w.start_ms, w.end_ms, w.confidence, w.speaker_tag) for w in alternative.words),
            # The wire has no token ids: -1 says so.
            tokens=tuple(Token(t.word, t.start_ms, t.end_ms, t.confidence, -1) for t in alternative.tokens),
        )
        for alternative in alternatives
    )


def _hotwords(report: pb.HotwordsReport) -> HotwordsReport:
    return HotwordsReport(report.num_hotwords, report.num_unspellable, tuple(report.unspellable))


_EVENT_KINDS = {
    pb.SpeechEvent.SPEECH_START: EventKind.SPEECH_START,
    pb.SpeechEvent.ENDPOINT: EventKind.ENDPOINT,
    pb.SpeechEvent.END_OF_STREAM: EventKind.END,
}


def _event(event: pb.SpeechEvent) -> StreamEvent:
    return StreamEvent(_EVENT_KINDS[event.type], event.time_ms, event.rule or None, channel=event.channel_tag)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _is_cjk(character: str) -> bool:
    # Kana, CJK ideographs with extension A, compatibility ideographs, and the planes of the rarer ideographs.
    return any(
        first <= ord(character) <= last
        for first, last in ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
    )
