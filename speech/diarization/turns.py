"""From labelled pieces to turns: who spoke from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from speech.diarization.options import TurnOptions
from speech.diarization.spectral import Labels
from speech.diarization.vad import SAMPLE_RATE, Region


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's speech, in seconds. `confidence` is in [0, 1]; `overlaps`: another speaker talks meanwhile."""

    begin_s: float
    end_s: float
    speaker: int
    confidence: float = 1.0
    overlaps: bool = False

    @property
    def duration_s(self) -> float:
        return self.end_s - self.begin_s


def turns_of(pieces: Sequence[Region], labels: Labels, confidences: npt.NDArray[np.floating]) -> list[Turn]:
    """Join labelled pieces, in order of time: the same speaker's touching ones are one turn.

    Where two speakers' pieces overlap, each gets half of what they share (WeSpeaker and 3D-Speaker alike). A turn's
    confidence is the mean of its pieces'.
    """
    turns: list[Turn] = []
    counts: list[int] = []
    for piece, label, confidence in zip(pieces, labels, confidences, strict=True):
        new = Turn(piece.begin / SAMPLE_RATE, piece.end / SAMPLE_RATE, int(label), float(confidence))
        last = turns[-1] if turns else None
        if last is None or new.begin_s > last.end_s:
            turns.append(new)
            counts.append(1)
        elif new.speaker == last.speaker:
            mean = last.confidence + (new.confidence - last.confidence) / (counts[-1] + 1)
            turns[-1] = replace(last, end_s=max(last.end_s, new.end_s), confidence=mean)
            counts[-1] += 1
        else:
            middle = (new.begin_s + last.end_s) / 2
            turns[-1] = replace(last, end_s=middle)
            turns.append(replace(new, begin_s=middle))
            counts.append(1)
    return turns


def smoothed(turns: Sequence[Turn], options: TurnOptions) -> list[Turn]:
    """Close short gaps within one speaker's speech, then drop short turns; sorted by begin, overlaps marked."""
    joined: list[Turn] = []
    last_of: dict[int, int] = {}
    for turn in sorted(turns, key=lambda turn: (turn.begin_s, turn.speaker)):
        index = last_of.get(turn.speaker)
        if index is not None and turn.begin_s - joined[index].end_s <= options.merge_gap_s:
            joined[index] = _joined(joined[index], turn)
        else:
            last_of[turn.speaker] = len(joined)
            joined.append(turn)
    kept = [turn for turn in joined if turn.duration_s > 0 and turn.duration_s >= options.min_duration_s]
    return _marked(kept)


def _joined(left: Turn, right: Turn) -> Turn:
    whole = max(left.duration_s + right.duration_s, 1e-9)
    confidence = (left.confidence * left.duration_s + right.confidence * right.duration_s) / whole
    return replace(left, end_s=max(left.end_s, right.end_s), confidence=confidence)


def _marked(turns: Sequence[Turn]) -> list[Turn]:
    """Set `overlaps` where another speaker's turn shares time. Turns must be in order of their beginnings."""
    marks = [False] * len(turns)
    running: list[int] = []
    for index, turn in enumerate(turns):
        running = [other for other in running if turns[other].end_s > turn.begin_s]
        for other in running:
            if turns[other].speaker != turn.speaker:
                marks[other] = marks[index] = True
        running.append(index)
    return [replace(turn, overlaps=mark) for turn, mark in zip(turns, marks, strict=True)]
