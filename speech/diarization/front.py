"""The first half of a diarization: audio and its speech probabilities in, pieces to embed and windows to segment out.

Holds back no more audio than is undecided, so hours of it stay bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speech.diarization.options import DiarizationOptions
from speech.diarization.powerset import FRAME_SAMPLES, WINDOW_SAMPLES, step_frames
from speech.diarization.vad import SAMPLE_RATE, Region, SpeechFinder
from speech.diarization.windows import WindowCutter, filled

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What gets one embedding: where it lies, and its samples, repeated up to the length of a window."""

    region: Region
    samples: Samples


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationWindow:
    """160000 samples from a frame of the segmentation's grid on; the recording's end is filled with zeros."""

    first_frame: int
    samples: Samples


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What became ready."""

    pieces: list[Piece]
    windows: list[SegmentationWindow]


class Tail:
    """The end of a recording: samples by their positions, forgotten from the front."""

    def __init__(self) -> None:
        self._samples: Samples = np.zeros(0, np.float32)
        self._begin = 0

    @property
    def end(self) -> int:
        return self._begin + len(self._samples)

    def push(self, samples: Samples) -> None:
        self._samples = np.concatenate([self._samples, samples])

    def read(self, region: Region) -> Samples:
        """A copy, so that it does not keep the rest alive."""
        assert region.begin >= self._begin, f"{region} was forgotten: the tail begins at {self._begin}"
        return self._samples[region.begin - self._begin : region.end - self._begin].copy()

    def forget(self, before: int) -> None:
        before = min(before, self.end)
        if before > self._begin:
            self._samples = self._samples[before - self._begin :].copy()
            self._begin = before


class DiarizationFront:
    """Cuts one recording, at 16 kHz, while it comes. One thread at a time."""

    def __init__(self, options: DiarizationOptions, *, segments: bool) -> None:
        """`segments`: whether there is a segmentation model to cut windows for."""
        self._finder = SpeechFinder(options.vad)
        self._cutter = WindowCutter(options.windows)
        self._piece_samples = round(options.windows.window_s * SAMPLE_RATE)
        self._step = step_frames(options.overlap) if segments else 0
        self._frame = 0  # where the next segmentation window begins
        self._tail = Tail()
        self.speech_samples = 0

    @property
    def num_samples(self) -> int:
        """Samples of the recording so far."""
        return self._tail.end

    def push(self, samples: Samples, probabilities: npt.NDArray[np.floating]) -> Cut:
        """Take (n,) more samples and the probabilities that the detector has by now, 512 samples each."""
        self._tail.push(samples)
        pieces = self._closed(self._finder.push(probabilities.tolist()))
        growing = self._finder.growing
        if growing:
            pieces += self._cutter.grow(growing)
        cut = Cut([self._piece(piece) for piece in pieces], self._windows())
        needed = self._cutter.needed_from(self._finder.needed_from)
        self._tail.forget(min(needed, self._frame * FRAME_SAMPLES) if self._step else needed)
        return cut

    def flush(self, probabilities: npt.NDArray[np.floating]) -> Cut:
        """End the recording, with the last probabilities."""
        pieces = self._closed(self._finder.push(probabilities.tolist()) + self._finder.flush(self._tail.end))
        return Cut([self._piece(piece) for piece in pieces], self._windows() + self._last_window())

    def _closed(self, regions: list[Region]) -> list[Region]:
        self.speech_samples += sum(map(len, regions))
        return [piece for region in regions for piece in self._cutter.close(region)]

    def _piece(self, region: Region) -> Piece:
        return Piece(region, filled(self._tail.read(region), self._piece_samples))

    def _windows(self) -> list[SegmentationWindow]:
        found = []
        while self._step and (begin := self._frame * FRAME_SAMPLES) + WINDOW_SAMPLES <= self._tail.end:
            found.append(SegmentationWindow(self._frame, self._tail.read(Region(begin, begin + WINDOW_SAMPLES))))
            self._frame += self._step
        return found

    def _last_window(self) -> list[SegmentationWindow]:
        """The window that holds what no whole one held, filled with zeros."""
        covered = (self._frame - self._step) * FRAME_SAMPLES + WINDOW_SAMPLES if self._frame else 0
        if not self._step or covered >= self._tail.end:
            return []
        samples = self._tail.read(Region(self._frame * FRAME_SAMPLES, self._tail.end))
        return [SegmentationWindow(self._frame, np.pad(samples, (0, WINDOW_SAMPLES - len(samples))))]
