"""One stream's state machine: the search's output of each step in, results and events out.

Knows segments, endpoints and when the engine must start anew; knows nothing of audio, engines or clocks. Times come
in as encoder frames and go out as milliseconds of the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speech.endpoint import EndpointConfig, decide
from speech.history import SegmentHistory
from speech.results import Alternative, EventKind, Result, SpeechEvent
from speech.search.nbest import Nbest
from speech.transcript import (
    TOKEN_LEAD_MS,
    ResultOptions,
    Timeline,
    Tokens,
    alternatives,
    best_alternative,
    best_text,
    speech_span,
    stability,
    whole_result,
)

__all__ = ["Outcome", "Recognition", "ResultOptions", "SegmentEnd", "StepResult", "whole_result"]

# The last fifth of the encoder's positions is spent looking for a pause of this length to restart in.
SOFT_LIMIT = 0.8
PAUSE_MS = 200.0
MAX_LENGTH_RULE = "max_length"
# The longest segment (200 s of 40 ms frames), also without endpoints and for encoders without a limit of positions.
MAX_SEGMENT_FRAMES = 5000


class StepResult(Protocol):
    """What the engine's step says of one stream (`engines.streaming.StepOutput`)."""

    @property
    def nbest(self) -> Nbest: ...
    @property
    def num_frames(self) -> int: ...
    @property
    def kept(self) -> NDArray[np.float32] | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class SegmentEnd:
    """A segment with text has ended: rescore `nbest` if there is `history` (T, D), then call `finish_segment`.

    `history` is what its steps kept: encoder output, or features. `start_frame` is the segment's first encoder frame in
    the stream; `rule` what ended it, None at the stream's end.
    """

    nbest: Nbest
    history: NDArray[np.float32] | None
    segment: int
    start_frame: int
    rule: str | None


Outcome = Result | SpeechEvent | SegmentEnd


class Recognition:
    """Owned by one session. After a SegmentEnd comes out, `finish_segment` must be called before anything else.

    The next step must start anew as `restart_encoder` and `restart_search` say (both are set before the first one).
    An endpoint restarts both, as WeNet does, or with `keeps_encoder` the search alone, as sherpa-onnx does for
    transducers; frames keep counting, so times stay those of the stream. `lead_ms` as in `Timeline`. Steps keep
    `kept_per_frame` rows for each encoder frame, and a few more at a segment's beginning. When the encoder's positions
    run out, the segment ends by rule "max_length": in a pause within the last fifth before `position_limit_frames`,
    else just before it.
    """

    def __init__(
        self,
        tokens: Tokens,
        frame_ms: float,
        endpoint: EndpointConfig,
        options: ResultOptions,
        position_limit_frames: int | None = None,
        *,
        keeps_encoder: bool = False,
        lead_ms: float = TOKEN_LEAD_MS,
        kept_per_frame: int = 1,
    ) -> None:
        self._tokens = tokens
        self._frame_ms = frame_ms
        self._endpoint = endpoint
        self._options = options
        self._keeps_encoder = keeps_encoder
        self._lead_ms = lead_ms
        # A segment without any bound would make every chunk's n-best list and partial text longer than the last.
        self._position_limit = min(position_limit_frames or MAX_SEGMENT_FRAMES, MAX_SEGMENT_FRAMES)
        self._history = SegmentHistory(kept_per_frame * (MAX_SEGMENT_FRAMES + 1))
        self.restart_encoder = True
        self.restart_search = True
        self.is_done = False
        self.segment = 0  # counts segments with text
        self._num_frames = 0
        self._segment_start = 0
        self._audio_ms = 0
        self._longest_step = 0
        self._nbest: Nbest | None = None
        self._text_told = ""
        self._speech_told = False
        self._ending: SegmentEnd | None = None
        self._at_stream_end = False

    def change(self, options: ResultOptions, endpoint: EndpointConfig) -> None:
        """Take other options from the next step on; what was kept for rescoring stays as it is."""
        self._options = options
        self._endpoint = endpoint

    def push(self, output: StepResult, audio_ms: int) -> list[Outcome]:
        """Take a step's output; `audio_ms` is how much of the stream it has used.

        Returns, in this order: the speech start, then a partial if the text has changed, or, at an endpoint, the
        endpoint and the SegmentEnd. Nothing once `is_done`.
        """
        self._require_no_ending()
        if self.is_done:
            return []
        self.restart_encoder = self.restart_search = False
        self._num_frames += output.num_frames
        self._longest_step = max(self._longest_step, output.num_frames)
        self._audio_ms = audio_ms
        self._nbest = output.nbest
        if self._options.rescoring and output.kept is not None:
            self._history.append(output.kept)
        text = best_text(output.nbest, self._tokens)
        rule = self._rule(output.nbest, bool(text)) or self._position_rule(output.nbest)
        outcomes = self._speech_start(output.nbest, text)
        if rule is None:
            return outcomes + self._partial(output.nbest, text)
        if not text:
            outcomes += self._partial(output.nbest, text)
            self._begin_segment()
            return outcomes
        endpoint = SpeechEvent(EventKind.ENDPOINT, self._ms(self._num_frames), rule)
        return [*outcomes, endpoint, self._end_segment(output.nbest, rule)]

    def pause(self, min_silence_ms: int) -> SegmentEnd | None:
        """Return the open segment as if it ended here, if it has text and then silence of `min_silence_ms`."""
        nbest = self._nbest
        if nbest is None or self._ending is not None or self._ms(nbest.trailing_blank_frames) < min_silence_ms:
            return None
        if not best_text(nbest, self._tokens):
            return None
        return SegmentEnd(nbest.closed(), self._history.so_far(), self.segment, self._segment_start, None)

    def alternatives(self, nbest: Nbest) -> Iterator[Alternative]:
        """Make the alternatives of the ended segment's final result, one by one: many take long."""
        return alternatives(nbest, self._tokens, self._timeline, self._options, self._options.max_alternatives)

    def finish_segment(self, nbest: Nbest, found: tuple[Alternative, ...] | None = None) -> list[Outcome]:
        """Take the ended segment's n-best list, re-ordered or as it was; return its final result.

        `found`: its `alternatives`, where they have been drawn already.
        Where rescoring prefers silence, there is no final: an empty partial takes back what was told.
        """
        assert self._ending is not None, "finish_segment follows a SegmentEnd"
        outcomes: list[Outcome] = []
        final = self._final(nbest, found)
        if final is not None:
            outcomes.append(final)
            self.segment += 1
        elif self._text_told:
            outcomes.append(self._result(nbest, ""))
        self._ending = None
        self._begin_segment()
        if self._at_stream_end or self._options.single_utterance:
            outcomes += self._end()
        return outcomes

    def flush(self, audio_ms: int) -> list[Outcome]:
        """Say that the stream has ended after `audio_ms`; END comes now, or after the last segment is finished."""
        self._require_no_ending()
        if self.is_done:
            return []
        self._audio_ms = audio_ms
        self._at_stream_end = True
        nbest = self._nbest
        if nbest is None or not best_text(nbest, self._tokens):
            return self._end()
        return [self._end_segment(nbest, None)]

    def _require_no_ending(self) -> None:
        assert self._ending is None, "a SegmentEnd is answered by finish_segment before the stream goes on"

    def _ms(self, frames: int) -> int:
        return round(frames * self._frame_ms)

    @property
    def _timeline(self) -> Timeline:
        return Timeline(self._segment_start * self._frame_ms, self._frame_ms, self._lead_ms)

    def _rule(self, nbest: Nbest, has_text: bool) -> str | None:
        silence_ms = self._ms(nbest.trailing_blank_frames)
        return decide(self._endpoint, silence_ms, self._ms(self._num_frames - self._segment_start), has_text)

    def _position_rule(self, nbest: Nbest) -> str | None:
        """End the segment before the encoder's positions run out; segment and encoder restart together."""
        used = self._num_frames - self._segment_start
        in_pause = nbest.trailing_blank_frames * self._frame_ms >= PAUSE_MS
        if used + self._longest_step > self._position_limit or (in_pause and used >= SOFT_LIMIT * self._position_limit):
            return MAX_LENGTH_RULE
        return None

    def _speech_start(self, nbest: Nbest, text: str) -> list[Outcome]:
        if self._speech_told or not text:
            return []
        self._speech_told = True
        return [SpeechEvent(EventKind.SPEECH_START, speech_span(nbest, self._timeline)[0])]

    def _partial(self, nbest: Nbest, text: str) -> list[Outcome]:
        if not self._options.interim_results or text == self._text_told:
            return []
        self._text_told = text
        return [self._result(nbest, text)]

    def _result(self, nbest: Nbest, text: str) -> Result:
        start_ms, end_ms = speech_span(nbest, self._timeline) if text else (self._ms(self._segment_start),) * 2
        return Result(
            alternatives=(best_alternative(nbest, text),) if text else (),
            is_final=False,
            stability=stability(nbest) if text else 0.0,
            segment=self.segment,
            start_ms=start_ms,
            end_ms=end_ms,
            audio_processed_ms=self._audio_ms,
        )

    def _final(self, nbest: Nbest, found: tuple[Alternative, ...] | None) -> Result | None:
        if not best_text(nbest, self._tokens):
            return None
        timeline = self._timeline
        start_ms, end_ms = speech_span(nbest, timeline)
        return Result(
            alternatives=tuple(self.alternatives(nbest)) if found is None else found,
            is_final=True,
            stability=1.0,
            segment=self.segment,
            start_ms=start_ms,
            end_ms=end_ms,
            audio_processed_ms=self._audio_ms,
        )

    def _end_segment(self, nbest: Nbest, rule: str | None) -> SegmentEnd:
        self._ending = SegmentEnd(nbest.closed(), self._history.take(), self.segment, self._segment_start, rule)
        return self._ending

    def _begin_segment(self) -> None:
        self.restart_search = True
        self.restart_encoder = not self._keeps_encoder
        self._history.take()
        self._segment_start = self._num_frames
        self._nbest = None
        self._text_told = ""
        self._speech_told = False

    def _end(self) -> list[Outcome]:
        self.is_done = True
        return [SpeechEvent(EventKind.END, self._audio_ms)]
