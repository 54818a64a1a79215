"""Cuts regions of speech into the overlapping pieces that get an embedding each, while the regions grow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from speech.diarization.options import WindowOptions
from speech.diarization.vad import SAMPLE_RATE, Region

Samples = npt.NDArray[np.float32]


class WindowCutter:
    """Gives the pieces of one recording's regions as soon as their last sample is known."""

    def __init__(self, options: WindowOptions) -> None:
        self._window = round(options.window_s * SAMPLE_RATE)
        self._period = round(options.period_s * SAMPLE_RATE)
        self._drops_short = options.drops_short
        self._begin = -1  # of the region that is being cut
        self._next = 0  # where its next piece begins

    def grow(self, region: Region) -> list[Region]:
        """Give the new whole pieces of a region that may still become longer."""
        self._enter(region.begin)
        pieces = []
        while self._next + self._window <= region.end:
            pieces.append(Region(self._next, self._next + self._window))
            self._next += self._period
        return pieces

    def close(self, region: Region) -> list[Region]:
        """Give the pieces of a complete region that were not given yet."""
        self._enter(region.begin)
        self._begin = -1
        if len(region) <= self._window and self._next == region.begin and not self._drops_short:
            return [region]
        return list(self._rest(region))

    def needed_from(self, begin: int) -> int:
        """The first sample still needed of a region that begins at `begin`."""
        return self._next if begin == self._begin else begin

    def _rest(self, region: Region) -> Iterator[Region]:
        # 3D-Speaker and WeSpeaker agree: pieces begin below length - window + period.
        while self._next < region.end - self._window + self._period:
            yield Region(self._next, min(self._next + self._window, region.end))
            self._next += self._period

    def _enter(self, begin: int) -> None:
        if begin != self._begin:
            self._begin = self._next = begin


def cut_windows(regions: list[Region], options: WindowOptions) -> list[Region]:
    """Give the pieces of complete regions, in order."""
    cutter = WindowCutter(options)
    return [piece for region in regions for piece in cutter.close(region)]


def filled(samples: Samples, length: int) -> Samples:
    """Repeat a short piece from its beginning until it has `length` samples, as both systems do."""
    return samples if len(samples) >= length else np.resize(samples, length)
