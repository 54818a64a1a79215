"""Powerset posteriors of a segmentation model as tracks of local speakers, and tracks matched to known speakers.

For pyannote segmentation 3.0: windows of 10 s, a frame every 270 samples, seven classes over three local speakers.
The matching follows 3D-Speaker's overlap stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from speech.diarization.graph import Check, no_check
from speech.diarization.options import OverlapOptions
from speech.diarization.turns import Turn
from speech.diarization.vad import SAMPLE_RATE

WINDOW_SAMPLES = 160_000
FRAME_SAMPLES = 270
FIELD_SAMPLES = 991
NUM_LOCAL = 3
BLOCK_FRAMES = 1 << 14  # frames that are ranked at a time: ranks take 30 bytes a frame and speaker, what is kept 5
WINDOW_FRAMES = 20.0  # what a whole window counts beside one stretch of speech, when a local speaker is named
# Which local speakers each class says are talking: {}, {1}, {2}, {3}, {1,2}, {1,3}, {2,3}; as bits.
CLASSES = np.array([0b000, 0b001, 0b010, 0b100, 0b011, 0b101, 0b110], np.uint8)
# Between the middles of two receptive fields lies the border of their frames.
FIRST_BORDER = (FIELD_SAMPLES - FRAME_SAMPLES) / 2

Tracks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LocalTracks:
    """One window: its first frame on the recording's grid, and (frames,) uint8 with a bit for each local speaker."""

    first_frame: int
    bits: Tracks

    def flags(self) -> Flags:
        """Who talks, (frames, 3)."""
        return (self.bits[:, np.newaxis] >> np.arange(NUM_LOCAL, dtype=np.uint8) & 1).astype(np.bool_)


def decode(first_frame: int, log_probs: npt.NDArray[np.floating]) -> LocalTracks:
    """The most probable class of each frame of a window, log_probs (frames, 7)."""
    return LocalTracks(first_frame, CLASSES[np.argmax(log_probs, axis=1)])


def step_frames(options: OverlapOptions) -> int:
    """Frames from one window to the next: whole ones, so that all windows share one grid."""
    return max(1, round(options.step_s * SAMPLE_RATE / FRAME_SAMPLES))


def overlapped_turns(
    turns: Sequence[Turn],
    windows: Sequence[LocalTracks],
    num_samples: int,
    *,
    only_adds: bool = False,
    check: Check = no_check,
) -> list[Turn]:
    """Draw the turns of a clustering anew on the segmentation's frames, with several speakers at a time.

    Every window's local speakers are matched to the clustering's by the time they share. In each frame as many
    speakers talk as the windows say on average, the best supported ones; where no window hears anybody the clustering
    stands. With `only_adds` it stands everywhere, and only frames of two speakers or more get the others. `check` may
    raise.
    """
    if not turns or not windows:
        return list(turns)
    known = _drawn(turns, _num_frames(windows, num_samples))
    scores = np.zeros(known.shape, np.float32)
    talking = np.zeros(len(known), np.float32)
    heard = np.zeros(len(known), np.float32)
    for window in windows:
        check()
        flags = window.flags()[: len(known) - window.first_frame]
        rows = slice(window.first_frame, window.first_frame + len(flags))
        talking[rows] += flags.sum(axis=1)
        heard[rows] += 1.0
        scores[rows] += _supports(flags, known[rows]) if only_adds else flags @ _matches(flags, known[rows])
    counts = np.rint(talking / np.maximum(heard, 1.0)).astype(np.int64)
    for begin in range(0, len(known), BLOCK_FRAMES):
        check()
        block = slice(begin, begin + BLOCK_FRAMES)
        known[block] = _active(known[block], scores[block], counts[block], only_adds)
    return _turns(known, turns, num_samples)


def _active(known: Flags, scores: npt.NDArray[np.float32], counts: npt.NDArray[np.int64], only_adds: bool) -> Flags:
    """Who talks in each frame, (frames, speakers): `counts` of them, as `overlapped_turns` says."""
    if only_adds:
        return known | _strongest(np.where(known, 0.0, scores), np.maximum(counts - 1, 0))
    active = _strongest(scores, counts)
    silent = ~active.any(axis=1)
    active[silent] = known[silent]
    return active


def _num_frames(windows: Iterable[LocalTracks], num_samples: int) -> int:
    reached = max(window.first_frame + len(window.bits) for window in windows)
    return max(1, min(reached, -(-num_samples // FRAME_SAMPLES)))


def _frame_at(seconds: float) -> int:
    """The frame whose middle comes first at or after a moment."""
    return max(0, int(np.ceil((seconds * SAMPLE_RATE - FIELD_SAMPLES / 2) / FRAME_SAMPLES)))


def _seconds_at(frame: int, num_frames: int, num_samples: int) -> float:
    """Where a frame begins; the first begins with the audio, and the one after the last ends with it."""
    if frame <= 0:
        return 0.0
    at = num_samples if frame >= num_frames else min(FIRST_BORDER + frame * FRAME_SAMPLES, num_samples)
    return at / SAMPLE_RATE


def _drawn(turns: Sequence[Turn], num_frames: int) -> Flags:
    flags = np.zeros((num_frames, max(turn.speaker for turn in turns) + 1), np.bool_)
    for turn in turns:
        flags[_frame_at(turn.begin_s) : _frame_at(turn.end_s), turn.speaker] = True
    return flags


def _matches(local: Flags, known: Flags) -> npt.NDArray[np.float32]:
    """One known speaker for each local one, (3, speakers) of 0 and 1: those that share most frames in all."""
    shared = local.T.astype(np.float32) @ known.astype(np.float32)
    matches = np.zeros_like(shared)
    for left, right in zip(*linear_sum_assignment(-shared), strict=True):
        matches[left, right] = shared[left, right] > 0
    return matches


def _supports(local: Flags, known: Flags) -> npt.NDArray[np.float32]:
    """How much a window speaks for each known speaker in each frame, (frames, speakers), from its local speakers.

    A local speaker is whoever is known to talk while it talks alone. What was said around an overlap tells more of it
    than the rest of the window, where two alike voices may have been taken for one local speaker: each stretch that a
    local speaker talks through is judged by itself, and the whole window counts as much as WINDOW_FRAMES of it.
    """
    alone = local & (local.sum(axis=1, keepdims=True) == 1)
    supports = np.zeros(known.shape, np.float32)
    for speaker in range(local.shape[1]):
        whole = WINDOW_FRAMES * _shared(alone[:, speaker], known)
        for begin, end in _runs(local[:, speaker]):
            frames = (alone[begin:end, speaker, np.newaxis] & known[begin:end]).sum(axis=0) + whole
            if frames.any():
                supports[begin:end] += frames / frames.sum()
    return supports


def _shared(alone: npt.NDArray[np.bool_], known: Flags) -> npt.NDArray[np.float32]:
    """The known speakers' shares of the frames (frames,) in which one local speaker talks alone; zeros for none."""
    frames = (alone[:, np.newaxis] & known).sum(axis=0)
    return np.asarray(frames / max(1, frames.sum()), np.float32)


def _runs(active: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Begins and ends of the stretches in which `active` (frames,) holds, (runs, 2)."""
    return np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)


def _strongest(scores: npt.NDArray[np.floating], counts: npt.NDArray[np.int64]) -> Flags:
    """In each row the `counts` largest scores above zero."""
    ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    return (ranks < counts[:, np.newaxis]) & (scores > 0)


def _turns(active: Flags, old: Sequence[Turn], num_samples: int) -> list[Turn]:
    """Runs of active frames as turns, each with the confidence of the old turns of its speaker that it meets."""
    turns: list[Turn] = []
    for speaker in range(active.shape[1]):
        own = [turn for turn in old if turn.speaker == speaker]
        mean = float(np.mean([turn.confidence for turn in own])) if own else 0.0
        first = 0
        for begin, end in _runs(active[:, speaker]):
            turn = Turn(
                _seconds_at(int(begin), len(active), num_samples),
                _seconds_at(int(end), len(active), num_samples),
                speaker,
                mean,
            )
            while first < len(own) and own[first].end_s <= turn.begin_s:
                first += 1
            met = [other for other in own[first : first + 8] if other.begin_s < turn.end_s]
            turns.append(replace(turn, confidence=float(np.mean([other.confidence for other in met]))) if met else turn)
    return sorted(turns, key=lambda turn: (turn.begin_s, turn.speaker))
