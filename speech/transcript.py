"""An n-best list of token ids as text, words and times. Pure functions; `speech/recognition.py` decides when."""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speech.results import Alternative, Result, Token, Word
from speech.search.nbest import Nbest

# A CTC token peaks near its end; WeNet lets it begin this long before its peak (asr_decoder.cc, time_stamp_gap_).
TOKEN_LEAD_MS = 100.0


class Tokens(Protocol):
    """What is asked of a token table (`speech.tokens.TokenTable`)."""

    @property
    def pieces(self) -> Sequence[str]: ...
    def text(self, ids: Sequence[int], /) -> str: ...
    def words(
        self, ids: Sequence[int], starts: Sequence[int], ends: Sequence[int], confidences: Sequence[float], /
    ) -> list[Word]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """What a caller wants to be told. `rescoring` keeps the encoder's output for the attention decoder."""

    max_alternatives: int = 1
    interim_results: bool = False
    word_times: bool = False
    token_times: bool = False
    single_utterance: bool = False
    rescoring: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where a segment's frames lie in the stream: frame n starts at origin_ms + n * frame_ms.

    `lead_ms`: how long before its peak a token begins; 0 for transducers, which say a token when it has begun.
    """

    origin_ms: float
    frame_ms: float
    lead_ms: float = TOKEN_LEAD_MS

    def spans(self, times: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return each token's start and end in stream ms from its peak frame.

        A token starts `lead_ms` before its peak, but not before the middle between it and the peak before, nor
        before the segment; it ends with its peak frame, or where the next one starts.
        """
        peaks = [self.origin_ms + time * self.frame_ms for time in times]
        middles = [(a + b) / 2 for a, b in itertools.pairwise(peaks)]
        starts = [
            round(max(peak - self.lead_ms, middle))
            for peak, middle in zip(peaks, [self.origin_ms, *middles], strict=False)
        ]
        ends = [round(peak + self.frame_ms) for peak in peaks]
        return starts, [min(end, start) for end, start in zip(ends, [*starts[1:], *ends[-1:]], strict=False)]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return what `spans` gives as the first token's start and the last one's end, from their peak frames alone."""
        start = round(max(self.origin_ms + first * self.frame_ms - self.lead_ms, self.origin_ms))
        return start, round(self.origin_ms + last * self.frame_ms + self.frame_ms)


def geometric_mean(confidences: Sequence[float] | NDArray[np.float32]) -> float:
    """Return the geometric mean of probabilities, 0 for none."""
    if len(confidences) == 0:
        return 0.0
    values = [float(value) for value in confidences]
    product = math.prod(values)
    if product > sys.float_info.min:
        return product ** (1 / len(values))
    return math.exp(sum(math.log(max(value, 1e-30)) for value in values) / len(values))


def stability(nbest: Nbest) -> float:
    """Return the share of the search's probability that agrees with the best hypothesis's tokens, in [0, 1].

    With w_h the hypotheses' posteriors among themselves (softmax of totals), lcp the length of the common prefix and
    n the best one's length: sum over h of w_h * lcp(best, h) / n. What every hypothesis shares can never change, so
    one that all others begin with has 1; so has greedy search, which takes nothing back.
    """
    told = nbest.tokens[0]
    if len(nbest.tokens) == 1 or not len(told):
        return 1.0 if len(told) else 0.0
    totals = nbest.totals.tolist()  # a handful of numbers costs numpy more than it does Python
    best = max(totals)
    weights = [math.exp(total - best) for total in totals]
    data = told.tobytes()
    shared = [_common_prefix(data, tokens.tobytes(), told.itemsize) for tokens in nbest.tokens]
    return sum(weight * length for weight, length in zip(weights, shared, strict=True)) / (sum(weights) * len(told))


def alternatives(
    nbest: Nbest, tokens: Tokens, timeline: Timeline, options: ResultOptions, limit: int
) -> Iterator[Alternative]:
    """Make up to `limit` alternatives, best first, each text once, empty texts left out.

    One may take a millisecond, with words and tokens of 20 s: draw them one by one where others wait.
    """
    told: set[str] = set()
    for index in range(len(nbest.tokens)):
        if len(told) == limit:
            break
        text = tokens.text(nbest.tokens[index].tolist())
        if text and text not in told:
            told.add(text)
            yield _alternative(nbest, index, text, tokens, timeline, options)


def best_alternative(nbest: Nbest, text: str) -> Alternative:
    """Return the best hypothesis, whose text is given, without words and tokens: all that a partial tells."""
    return Alternative(text, float(nbest.scores[0]), geometric_mean(nbest.confidences[0]))


def best_text(nbest: Nbest, tokens: Tokens) -> str:
    """Return the best hypothesis's text; an n-best list without hypotheses says nothing."""
    return tokens.text(nbest.tokens[0].tolist()) if nbest.tokens else ""


def speech_span(nbest: Nbest, timeline: Timeline) -> tuple[int, int]:
    """Return where the best hypothesis's first token starts and its last ends; it must have tokens."""
    times = nbest.times[0]
    return timeline.span(int(times[0]), int(times[-1]))


def whole_result(
    nbest: Nbest,
    *,
    tokens: Tokens,
    frame_ms: float,
    options: ResultOptions,
    start_ms: int,
    end_ms: int,
    segment: int = 0,
    lead_ms: float = TOKEN_LEAD_MS,
    found: tuple[Alternative, ...] | None = None,
) -> Result | None:
    """Return the final result of a piece of audio that lies at start_ms to end_ms; None when nothing was said.

    `found`: its `alternatives`, where they have been drawn already.
    """
    timeline = Timeline(start_ms, frame_ms, lead_ms)
    if not best_text(nbest, tokens):
        return None
    begin, end = speech_span(nbest, timeline)
    return Result(
        alternatives=tuple(alternatives(nbest, tokens, timeline, options, options.max_alternatives))
        if found is None
        else found,
        is_final=True,
        stability=1.0,
        segment=segment,
        start_ms=begin,
        end_ms=min(end, max(end_ms, begin)),
        audio_processed_ms=end_ms,
    )


def _alternative(
    nbest: Nbest, index: int, text: str, tokens: Tokens, timeline: Timeline, options: ResultOptions
) -> Alternative:
    ids = nbest.tokens[index].tolist()
    confidences = nbest.confidences[index].tolist()
    starts, ends = timeline.spans(nbest.times[index].tolist())
    rows = list(zip(ids, starts, ends, confidences, strict=True))
    return Alternative(
        text=text,
        score=float(nbest.scores[index]),
        confidence=geometric_mean(confidences),
        words=tuple(tokens.words(ids, starts, ends, confidences)) if options.word_times else (),
        tokens=tuple(Token(tokens.pieces[i], start, end, confidence, i) for i, start, end, confidence in rows)
        if options.token_times
        else (),
        hotword_score=0.0 if nbest.bonus is None else float(nbest.bonus.hotwords[index]),
        lm_score=0.0 if nbest.bonus is None else float(nbest.bonus.lm[index]),
    )


def _common_prefix(a: bytes, b: bytes, itemsize: int) -> int:
    """Return how many items two arrays share at their beginnings, from the lowest bit in which their bytes differ.

    Whole hypotheses are compared as one long integer each, at C's speed.
    """
    size = min(len(a), len(b))
    differing = int.from_bytes(a[:size], "little") ^ int.from_bytes(b[:size], "little")
    return (((differing & -differing).bit_length() - 1) // 8 if differing else size) // itemsize
