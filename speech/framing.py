"""Cut a stream of samples into the overlapping windows that encoder steps read. Owns the audio tail, no features."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Self

import msgspec
import numpy as np
from msgspec import Meta

from speech.audio import Samples
from speech.errors import SpeechError
from speech.features import FbankConfig, reflect

_MIN_CAPACITY = 1 << 14


def frames_encoded(num_frames: int, subsampling: int, context: int) -> int:
    """Return how many encoder frames feature frames give: `context` the first one, `subsampling` more each other."""
    return 0 if num_frames < context else (num_frames - context) // subsampling + 1


class Framing(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's steps lie over feature frames; all counts are 10 ms frames, not encoder frames.

    An encoder frame needs `context` = `right_context` + 1 frames and the next one `subsampling` more. A step reads
    `window_frames` and the next step starts `stride_frames` later. A tail of fewer than `min_frames` is not worth a
    step; 0 stands for `context`, the fewest that give an encoder frame. A stream's end is followed by `tail_frames` of
    silence. `is_strict` waits for one frame more than a window has, and `drops_tail` loses what fills no window: two
    ways of older servers.
    """

    window_frames: Annotated[int, Meta(ge=1)]
    stride_frames: Annotated[int, Meta(ge=1)]
    subsampling: Annotated[int, Meta(ge=1)]
    right_context: Annotated[int, Meta(ge=0)]
    fbank: FbankConfig = FbankConfig()
    min_frames: Annotated[int, Meta(ge=0)] = 0
    tail_frames: Annotated[int, Meta(ge=0)] = 0
    is_strict: bool = False
    drops_tail: bool = False

    def __post_init__(self) -> None:
        """Fill in `min_frames`; raise ValueError for windows that would skip frames or give nothing."""
        if self.min_frames == 0:
            msgspec.structs.force_setattr(self, "min_frames", self.context)
        if self.window_frames < max(self.context, self.stride_frames):
            raise ValueError(
                f"window_frames {self.window_frames} is below the stride ({self.stride_frames}) "
                f"or the frames of one encoder frame ({self.context})"
            )

    @classmethod
    def for_chunk(cls, chunk: int, subsampling: int, right_context: int, fbank: FbankConfig) -> Self:
        """Return the framing of an encoder that adds `chunk` encoder frames a step: 16, 4, 6 gives 67 and 64 frames."""
        return cls(
            window_frames=(chunk - 1) * subsampling + right_context + 1,
            stride_frames=chunk * subsampling,
            subsampling=subsampling,
            right_context=right_context,
            fbank=fbank,
        )

    @property
    def context(self) -> int:
        """Feature frames that one encoder frame sees."""
        return self.right_context + 1

    @property
    def overlap_frames(self) -> int:
        """Feature frames of a window that the one before has as well."""
        return self.window_frames - self.stride_frames

    @property
    def chunk(self) -> int:
        """Encoder frames of a full window."""
        return self.encoder_frames(self.window_frames)

    @property
    def window_samples(self) -> int:
        """Samples of a full window."""
        return self.fbank.num_samples(self.window_frames)

    @property
    def stride_samples(self) -> int:
        """Samples between the starts of two windows."""
        return self.stride_frames * self.fbank.frame_shift

    def encoder_frames(self, num_frames: int, exact: bool = True) -> int:
        """Encoder frames that `num_frames` feature frames give.

        The exact count is that of the unpadded convolutions, (n - 3) // 4 for Conv2d-4. With `exact` false it is
        the n // 4 that WeNet's streaming graphs report, whose last frame may have seen padding.
        """
        if not exact:
            return num_frames // self.subsampling
        return frames_encoded(num_frames, self.subsampling, self.context)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One step's audio: (window_samples,) float32, zero from the end of its last valid frame on; the receiver owns it.

    The first `num_frames` frames are valid, the others must be overwritten by padding. `start_frame` is the first
    frame's index in the stream. Only the window that a flush ends with has `is_last`; a stream may have none.
    """

    samples: Samples
    num_frames: int
    start_frame: int
    is_last: bool


class Framer:
    """Cut one stream into windows; owned by the stream's session. Any cut into packets gives bit-identical windows.

    Summed over the windows, the encoder frames are exactly those of the whole audio in one piece. Memory is a few
    windows, however much is pushed.
    """

    def __init__(self, framing: Framing) -> None:
        """Start a stream."""
        self.framing = framing
        fbank = framing.fbank
        # Room left before the first sample for its mirror image; at most half a frame, as is the one at the end.
        self._left = 0 if fbank.snip_edges else max(fbank.frame_length // 2 - fbank.frame_shift // 2, 0)
        self._keep = fbank.frame_length  # audio that stays behind the last sample, to be mirrored at the end
        # Properties that compute; a packet asks for them more than once.
        self._window_samples, self._stride_samples = framing.window_samples, framing.stride_samples
        # What must be there before a window is cut.
        self._needed_samples = self._window_samples + framing.is_strict * fbank.frame_shift
        # Twice what can be waiting, so that moving the rest to the front costs less than one copy per sample.
        self._buffer = np.zeros(max(_MIN_CAPACITY, 2 * (self._window_samples + self._keep)), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget everything and start a new stream."""
        # _buffer: [ already cut | next window ... | free )
        #          0              _next            _filled
        self._next = 0
        self._filled = self._left
        self._num_samples = 0
        self._num_tail = 0
        self._num_windows = 0
        self._pending: Samples = np.empty(0, np.float32)
        self._is_flushed = False

    @property
    def num_samples(self) -> int:
        """Samples received."""
        return self._num_samples

    @property
    def num_missing(self) -> int:
        """Samples that the next full window still needs; at least 1 once what was pushed has been cut."""
        return self._needed_samples - (self._filled - self._next)

    def push(self, samples: Samples) -> list[Window]:
        """Take (n,) samples, return the windows they complete. Raises SpeechError after `flush`."""
        return list(self.push_iter(samples))

    def push_iter(self, samples: Samples) -> Iterator[Window]:
        """Like `push`, but cut each window when it is asked for, so that minutes of audio need no second copy.

        The iterator reads `samples` until it is exhausted; pushing or flushing before that raises SpeechError.
        """
        self._require_open()
        if samples.ndim != 1:
            raise SpeechError(f"samples of shape {samples.shape} given, (n,) expected")
        self._pending = samples
        self._num_samples += len(samples)
        return self._windows()

    def flush(self) -> list[Window]:
        """End the stream and return what is left of it: none, or some windows, the last marked `is_last`."""
        self._require_open()
        self._is_flushed = True
        windows = self._silent_tail()
        self._pending = self._mirrored_end()
        windows += self._windows()
        while not self.framing.drops_tail and self._frames_left() >= self.framing.min_frames:
            windows.append(self._cut(min(self._frames_left(), self.framing.window_frames)))
        if windows:
            windows[-1] = replace(windows[-1], is_last=True)
        return windows

    def _silent_tail(self) -> list[Window]:
        """Let silence follow the audio; a stream without audio has no end to hear."""
        self._num_tail = self.framing.tail_frames * self.framing.fbank.frame_shift if self._num_samples else 0
        self._pending = np.zeros(self._num_tail, np.float32)
        return list(self._windows())

    def _frames_left(self) -> int:
        """Feature frames from the next window's start to the end of the flushed stream."""
        num_frames = self.framing.fbank.num_frames(self._num_samples + self._num_tail)
        return num_frames - self._num_windows * self.framing.stride_frames

    def _require_open(self) -> None:
        if self._is_flushed:
            raise SpeechError("the framer was flushed: reset it before the next stream")
        if len(self._pending):
            raise SpeechError(f"the last push_iter was not exhausted: {len(self._pending)} samples are unread")

    def _windows(self) -> Iterator[Window]:
        while True:
            self._fill()
            while self._filled - self._next >= self._needed_samples:
                yield self._cut(self.framing.window_frames)
            if not len(self._pending):
                return

    def _fill(self) -> None:
        """Move as much of the pending samples into the buffer as it holds."""
        if self._filled + len(self._pending) > len(self._buffer):
            self._drop_what_was_cut()
        taken = self._pending[: len(self._buffer) - self._filled]
        self._pending = self._pending[len(taken) :]
        self._append(taken)

    def _drop_what_was_cut(self) -> None:
        start = max(0, min(self._next, self._filled - self._keep))
        rest = self._buffer[start : self._filled].copy()
        self._buffer[: len(rest)] = rest
        self._next -= start
        self._filled -= start

    def _append(self, samples: Samples) -> None:
        self._buffer[self._filled : self._filled + len(samples)] = samples
        self._filled += len(samples)

    def _cut(self, num_frames: int) -> Window:
        if self._num_windows == 0 and self._left:
            self._mirror_start()
        if num_frames == self.framing.window_frames:
            samples = self._buffer[self._next : self._next + self._window_samples].copy()
        else:
            num_samples = self.framing.fbank.num_samples(num_frames)
            samples = np.zeros(self._window_samples, np.float32)
            samples[:num_samples] = self._buffer[self._next : self._next + num_samples]
        window = Window(samples, num_frames, self._num_windows * self.framing.stride_frames, is_last=False)
        self._next += self._stride_samples
        self._num_windows += 1
        return window

    def _mirror_start(self) -> None:
        """Fill the room before the first sample; nothing was dropped yet, so the audio starts at `_left`."""
        audio = self._buffer[self._left : min(self._filled, 2 * self._left)]
        self._buffer[: self._left] = reflect(audio, self._left, 0)[: self._left]

    def _mirrored_end(self) -> Samples:
        """Return what follows the last sample; it mirrors at most `_keep` samples, or all of a shorter stream."""
        num_samples = self._num_samples + self._num_tail
        _, right = self.framing.fbank.mirrored_edges(num_samples)
        if not right:
            return np.empty(0, np.float32)
        audio = self._buffer[self._filled - min(num_samples, self._keep) : self._filled]
        return reflect(audio, 0, right)[len(audio) :]
