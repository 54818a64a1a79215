"""Regions of speech from the probabilities of a voice activity detector: silero's rules, fed in any pieces.

Follows `get_speech_timestamps_from_probs` of silero-vad 6.2.3 (MIT), with WeSpeaker's two deviations as options.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from speech.diarization.options import VadOptions

SAMPLE_RATE = 16000
FRAME_SAMPLES = 512


@dataclass(frozen=True, slots=True)
class Region:
    """Samples `begin` up to, not including, `end`."""

    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(slots=True)
class _Pause:
    begin: int
    length: int


class SpeechFinder:
    """Finds the regions of one recording while its probabilities come in. Owned by the recording's diarization.

    A region is given once nothing can change it. `growing` is what is already sure of the one that is still open.
    """

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._pad = int(options.pad_ms * SAMPLE_RATE / 1000)
        self._min_speech = options.min_speech_ms * SAMPLE_RATE / 1000
        self._min_silence = options.min_silence_ms * SAMPLE_RATE / 1000
        self._min_pause = options.min_silence_at_max_speech_ms * SAMPLE_RATE / 1000
        self._min_region = options.min_region_ms * SAMPLE_RATE / 1000
        self._max_speech = options.max_speech_s * SAMPLE_RATE - FRAME_SAMPLES - 2 * self._pad
        self._position = 0
        self._begin: int | None = None  # of the open region, before padding
        self._end: int | None = None  # where it ends if the silence goes on
        self._pauses: list[_Pause] = []
        self._last_end: int | None = None  # of the last kept region, before padding
        self._closed_begin: int | None = None  # of that region, padded, until its end is settled
        self._ready: list[Region] = []

    def push(self, probabilities: Iterable[float]) -> list[Region]:
        """Take the next frames' probabilities (512 samples each); give the regions that are complete."""
        for probability in probabilities:
            self._frame(probability)
            self._position += FRAME_SAMPLES
        self._settle_early()
        return self._take()

    def flush(self, num_samples: int) -> list[Region]:
        """End the recording at `num_samples`; give the regions that are left."""
        if self._begin is not None:
            is_kept = num_samples - self._begin > self._min_speech or self._options.keeps_short_end
            if is_kept and num_samples > self._begin:
                self._close(num_samples)
        if self._last_end is not None:
            self._settle(min(num_samples, self._last_end + self._pad))
        self._begin = None
        return self._take()

    @property
    def growing(self) -> Region | None:
        """The open region as far as it is sure to reach, or None; with a maximum length nothing is sure."""
        if self._begin is None or self._max_speech < float("inf"):
            return None
        end = self._position if self._end is None else self._end
        if end - self._begin <= max(self._min_speech, self._min_region):
            return None
        return Region(self._padded_begin(self._begin), end)

    @property
    def needed_from(self) -> int:
        """The beginning of the earliest region that has not been given yet, or that may still come."""
        if self._closed_begin is not None:
            return self._closed_begin
        return self._padded_begin(self._begin) if self._begin is not None else max(0, self._position - self._pad)

    def _frame(self, probability: float) -> None:
        is_speech = probability >= self._options.threshold
        if is_speech and self._end is not None:
            if self._position - self._end > self._min_pause:
                self._pauses.append(_Pause(self._end, self._position - self._end))
            self._end = None
        if is_speech and self._begin is None:
            self._begin = self._position
            return
        if self._begin is None:
            return
        if self._position - self._begin > self._max_speech and self._cut_long():
            return
        if probability < self._options.exit:
            self._silence()

    def _cut_long(self) -> bool:
        """Cut a region that has grown too long; True when the frame needs no further look."""
        if not self._pauses:
            self._close(self._position)
            return True
        # The first of equally long pauses, as silero's max() takes it.
        pause = max(self._pauses, key=lambda pause: pause.length)
        self._close(pause.begin)
        self._begin = pause.begin + pause.length
        return False

    def _silence(self) -> None:
        assert self._begin is not None, "silence matters inside a region only"
        if self._end is None:
            self._end = self._position
        if self._position - self._end < self._min_silence:
            return
        if self._end - self._begin > self._min_speech:
            self._close(self._end)
        self._begin, self._end, self._pauses = None, None, []

    def _close(self, end: int) -> None:
        """The open region ends at `end`, before padding; so the one before it knows its own end."""
        assert self._begin is not None, "only an open region can close"
        begin = self._padded_begin(self._begin)
        self._settle_before(self._begin)
        self._closed_begin, self._last_end = begin, end
        self._begin, self._end, self._pauses = None, None, []

    def _padded_begin(self, begin: int) -> int:
        if self._last_end is None:
            return max(0, begin - self._pad)
        gap = begin - self._last_end
        if gap < 2 * self._pad:
            return begin - gap // 2
        return begin - self._pad if self._options.pads_starts else begin

    def _settle_early(self) -> None:
        """Give the closed region as soon as no region to come can move its end."""
        if self._last_end is None:
            return
        next_begin = self._position if self._begin is None else self._begin
        if next_begin - self._last_end >= 2 * self._pad or self.growing:
            self._settle_before(next_begin)

    def _settle_before(self, next_begin: int) -> None:
        if self._last_end is not None:
            gap = next_begin - self._last_end
            self._settle(self._last_end + (gap // 2 if gap < 2 * self._pad else self._pad))

    def _settle(self, end: int) -> None:
        """Give the closed region, unless that has been done."""
        if self._closed_begin is None:
            return
        region = Region(self._closed_begin, end)
        self._closed_begin = None
        if len(region) >= self._min_region:
            self._ready.append(region)

    def _take(self) -> list[Region]:
        ready, self._ready = self._ready, []
        return ready


def speech_regions(probabilities: Iterable[float], num_samples: int, options: VadOptions) -> list[Region]:
    """Give the regions of a whole recording of `num_samples` at 16 kHz, in order and apart from each other."""
    finder = SpeechFinder(options)
    regions = [*finder.push(probabilities), *finder.flush(num_samples)]
    assert all(left.end <= right.begin for left, right in pairwise(regions)), "regions never overlap"
    return regions
