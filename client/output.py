"""What `chorus transcribe` prints of an outcome: lines for people and pipes, or JSON with everything."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from client.jobs import Outcome
from client.results import Said, StreamEvent, StreamResult, Transcript
from speech.results import Alternative, Token, Word


def labels(recording_id: str, transcript: Transcript) -> dict[str, int]:
    """Name each channel: the id, or id[1], id[2] where the audio has several."""
    if transcript.channels == (0,):
        return {recording_id: 0}
    return {f"{recording_id}[{channel}]": channel for channel in transcript.channels}


def texts(outcome: Outcome) -> dict[str, str]:
    """The text of each channel by its label; nothing for a recording that failed."""
    if outcome.problem is not None:
        return {}
    found = outcome.transcript
    return {label: found.text_of(channel) for label, channel in labels(outcome.recording.id, found).items()}


def lines(outcome: Outcome, *, word_times: bool, n_best: int, speakers: bool = False) -> Iterator[str]:
    """`id<TAB>text`, with `speakers` a line for each change: `id<TAB>speaker 1<TAB>text`.

    Then, where asked for, lines that begin with a tab: words with times, further alternatives.
    """
    for label, text in texts(outcome).items():
        channel = labels(outcome.recording.id, outcome.transcript)[label]
        if speakers:
            yield from (f"{label}\t{_name(said)}\t{said.text}" for said in outcome.transcript.said(channel))
        else:
            yield f"{label}\t{text}"
        for result in outcome.transcript.results:
            if result.channel == channel:
                yield from _details(result, word_times, n_best)


def _name(said: Said) -> str:
    return f"speaker {said.speaker}" if said.speaker else "nobody"


def _details(result: StreamResult, word_times: bool, n_best: int) -> Iterator[str]:
    if word_times:
        for word in result.words:
            speaker = f"\t{word.speaker}" if word.speaker else ""
            yield f"\t{word.start_ms / 1000:.2f}\t{word.end_ms / 1000:.2f}\t{word.text}\t{word.confidence:.2f}{speaker}"
    if n_best > 1:
        for rank, alternative in enumerate(result.alternatives, start=1):
            total = alternative.score + alternative.hotword_score + alternative.lm_score
            yield f"\t#{rank}\t{total:.3f}\t{alternative.text}"


def hotwords_warning(transcript: Transcript) -> str | None:
    """Say which hotwords the model cannot write, if there are any."""
    report = transcript.hotwords
    if report is None or not report.num_unspellable:
        return None
    more = ", ..." if report.num_unspellable > len(report.unspellable) else ""
    return f"{report.num_unspellable} hotwords cannot be written by the model: {', '.join(report.unspellable)}{more}"


def to_json(outcome: Outcome) -> str:
    """One line of JSON with all that is known; times in milliseconds of audio."""
    found = outcome.transcript
    problem = outcome.problem
    document = {
        "id": outcome.recording.id,
        "path": outcome.recording.path,
        "text": found.text,
        "audio_ms": found.audio_ms,
        "results": [_result(result) for result in found.results],
        "events": [_event(event) for event in found.events],
        "hotwords": asdict(found.hotwords) if found.hotwords else None,
        "error": {"status": problem.status, "message": problem.message} if problem else None,
    }
    return json.dumps(document, ensure_ascii=False)


def _result(result: StreamResult) -> dict[str, Any]:
    return {
        "channel": result.channel,
        "segment": result.segment,
        "start_ms": result.start_ms,
        "end_ms": result.end_ms,
        "alternatives": [_alternative(alternative) for alternative in result.alternatives],
    }


def _alternative(alternative: Alternative) -> dict[str, Any]:
    return {
        "text": alternative.text,
        "score": round(alternative.score, 4),
        "hotword_score": round(alternative.hotword_score, 4),
        "lm_score": round(alternative.lm_score, 4),
        "confidence": round(alternative.confidence, 4),
        "words": [{**_timed(word), "speaker": word.speaker} for word in alternative.words],
        "tokens": [_timed(token) for token in alternative.tokens],
    }


def _timed(part: Word | Token) -> dict[str, Any]:
    return {
        "text": part.text,
        "start_ms": part.start_ms,
        "end_ms": part.end_ms,
        "confidence": round(part.confidence, 4),
    }


def _event(event: StreamEvent) -> dict[str, Any]:
    return {"channel": event.channel, "kind": event.kind.value, "time_ms": event.time_ms, "rule": event.rule}
