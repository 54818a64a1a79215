"""Lays turns over words: who spoke each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from speech.diarization.turns import Turn
from speech.results import Alternative, Result, Word

NEAR_MS = 1000.0  # a word this far from all speech belongs to nobody


class WordSpeakers:
    """Knows one channel's turns, in order of their beginnings."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._begins = np.array([turn.begin_s * 1000 for turn in turns])
        ends = np.array([turn.end_s * 1000 for turn in turns])
        # Turns may overlap: the latest end among a turn and all before it rises with time, as bisection needs.
        self._latest_ends = np.maximum.accumulate(ends)
        rises = ends >= self._latest_ends
        self._latest = np.maximum.accumulate(np.where(rises, np.arange(len(ends)), 0))  # whose end that is

    def tagged(self, result: Result) -> Result:
        """Give every word of every alternative its speaker, from 1."""
        return replace(result, alternatives=tuple(self._tagged(each) for each in result.alternatives))

    def _tagged(self, alternative: Alternative) -> Alternative:
        words: list[Word] = []
        for word in alternative.words:
            before = words[-1].speaker if words else 0
            words.append(replace(word, speaker=self.speaker(word.start_ms, word.end_ms, before)))
        return replace(alternative, words=tuple(words))

    def speaker(self, start_ms: float, end_ms: float, before: int = 0) -> int:
        """Say who speaks most of a span, from 1; 0 for nobody.

        Of several who share equally much of it: `before`, the word before's, if it is one of them, else who began
        first. Where nobody speaks: the nearest turn's, if it is within a second; of two as near, the one that ended.
        """
        first = int(np.searchsorted(self._latest_ends, start_ms, side="right"))
        last = int(np.searchsorted(self._begins, max(end_ms, start_ms + 1), side="left"))
        shares: dict[int, float] = {}
        for turn in self._turns[first:last]:
            shared = min(turn.end_s * 1000, end_ms) - max(turn.begin_s * 1000, start_ms)
            if shared >= 0:  # a word without length lies in a turn, too
                shares[turn.speaker + 1] = shares.get(turn.speaker + 1, 0.0) + shared
        if not shares:
            return self._nearest(start_ms, end_ms, last)
        most = max(shares.values())
        best = [speaker for speaker, shared in shares.items() if shared >= most - 1e-6]
        return before if before in best else best[0]

    def _nearest(self, start_ms: float, end_ms: float, after: int) -> int:
        """The speaker of the turn that ended last before a span, or of turn `after`, which begins next."""
        found = []
        if after > 0:
            ended = self._turns[self._latest[after - 1]]
            found.append((start_ms - ended.end_s * 1000, ended.speaker + 1))
        if after < len(self._turns):
            found.append((self._begins[after] - end_ms, self._turns[after].speaker + 1))
        distance, speaker = min(found, key=lambda pair: pair[0], default=(NEAR_MS + 1, 0))
        return speaker if distance <= NEAR_MS else 0
