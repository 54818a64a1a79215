"""Bytes of a call to samples at the model's rate, for every encoding, in small pieces.

Encodings without a header are decoded in place, in slices short enough for the event loop. Containers are decoded by
libav on a thread per stream, which pulls bytes from a pipe: `push` feeds the pipe and hands on whatever came out by the
time the decoder wants more.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Executor
from typing import Protocol

import numpy as np

from server.errors import BadRequest
from server.options import AudioFormat
from speech.audio import PcmDecoder
from speech.containers import AudioBlock, decode
from speech.resample import Resampler

SLICE_BYTES = 32768  # a second of 16-bit audio at 16 kHz, and so any chunk, at once: about 50 us of decoding
MAX_BLOCKS = 64  # decoded blocks a container thread may be ahead of the session


class Intake(Protocol):
    """A call's audio, bytes in and (channels, n) float32 out, at the model's rate."""

    def push(self, data: bytes | bytearray) -> AsyncGenerator[np.ndarray, None]:
        """Decode one packet, which stays as it is meanwhile; the samples come in pieces."""

    def finish(self) -> AsyncGenerator[np.ndarray, None]:
        """End the audio and give what was held back."""

    def bytes_for(self, num_samples: int) -> int:
        """Bytes below which fewer than `num_samples` more samples a channel come out: pushing can wait for them."""

    def close(self) -> None:
        """Give up, at any moment; never blocks."""


def open_intake(audio: AudioFormat, sample_rate: int, executor: Executor) -> Intake:
    """Make the intake for `audio`; containers decode on `executor`, one of its threads each."""
    if audio.encoding.is_container:
        return ContainerIntake(audio, sample_rate, executor)
    return PcmIntake(audio, sample_rate)


class PcmIntake:
    """Samples without a header."""

    def __init__(self, audio: AudioFormat, sample_rate: int) -> None:
        self._decoder = PcmDecoder(audio.encoding, audio.channels)
        self._resampler = Resampler(audio.sample_rate, sample_rate, audio.channels)
        self._rates = audio.sample_rate, sample_rate

    async def push(self, data: bytes | bytearray) -> AsyncGenerator[np.ndarray, None]:
        view = memoryview(data)
        for begin in range(0, len(view), SLICE_BYTES):
            samples = self._resampler.push(self._decoder.push(view[begin : begin + SLICE_BYTES]))
            if samples.shape[1]:
                yield samples

    async def finish(self) -> AsyncGenerator[np.ndarray, None]:
        self._decoder.flush()
        samples = self._resampler.flush()
        if samples.shape[1]:
            yield samples

    def bytes_for(self, num_samples: int) -> int:
        from_hz, to_hz = self._rates
        return num_samples * from_hz // to_hz * self._decoder.frame_bytes - self._decoder.num_partial_bytes

    def close(self) -> None:
        """Nothing is held outside this object."""


class ContainerIntake:
    """WAV, FLAC, Ogg or MP3, decoded while it arrives."""

    def __init__(self, audio: AudioFormat, sample_rate: int, executor: Executor) -> None:
        self._audio = audio
        self._sample_rate = sample_rate
        self._resampler: Resampler | None = None
        self._pipe = _Pipe(asyncio.get_running_loop())
        self._executor = executor
        self._started = False

    async def push(self, data: bytes | bytearray) -> AsyncGenerator[np.ndarray, None]:
        if not self._started:
            self._executor.submit(self._decode)
            self._started = True
        self._pipe.feed(data)
        async for samples in self._drain():
            yield samples

    async def finish(self) -> AsyncGenerator[np.ndarray, None]:
        self._pipe.end()
        if self._started:
            async for samples in self._drain():
                yield samples
        if self._resampler is not None:
            samples = self._resampler.flush()
            if samples.shape[1]:
                yield samples

    def bytes_for(self, num_samples: int) -> int:
        return 0  # only the decoder knows

    def close(self) -> None:
        self._pipe.abandon()

    def _decode(self) -> None:
        """The decoder's thread: from the pipe, through libav, back into the pipe."""
        try:
            for block in decode(self._pipe, self._audio.encoding):
                if not self._pipe.deliver(block):
                    return
        except Exception as error:
            self._pipe.fail(error)
        else:
            self._pipe.fail(None)

    async def _drain(self) -> AsyncIterator[np.ndarray]:
        while (block := await self._pipe.next_block()) is not None:
            for samples in self._resampled(block):
                yield samples

    def _resampled(self, block: AudioBlock) -> Iterator[np.ndarray]:
        if self._resampler is None:
            self._check(block)
            self._resampler = Resampler(block.sample_rate, self._sample_rate, block.samples.shape[0])
        samples = self._resampler.push(block.samples)
        if samples.shape[1]:
            yield samples

    def _check(self, block: AudioBlock) -> None:
        channels = block.samples.shape[0]
        if self._audio.sample_rate not in (0, block.sample_rate, *block.other_rates):
            raise BadRequest(
                f"sample_rate_hertz is {self._audio.sample_rate}, but the audio's header says {block.sample_rate}"
            )
        if self._audio.channels not in (0, channels):
            raise BadRequest(f"audio_channel_count is {self._audio.channels}, but the audio's header says {channels}")


class _Pipe:
    """Bytes to the decoder's thread and blocks back. The loop's side never blocks; the thread's side does.

    The loop waits until the decoder is hungry (all bytes read, wants more), has blocks to hand over, or is done.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = threading.Condition()
        self._bytes = bytearray()
        self._blocks: deque[AudioBlock] = deque()
        self._ended = self._abandoned = self._done = self._hungry = False
        self._error: BaseException | None = None
        self._news = asyncio.Event()

    # --- the loop's side

    def feed(self, data: bytes | bytearray) -> None:
        with self._changed:
            if self._done:  # what follows the container's end is not audio
                return
            self._bytes += data
            self._hungry = False
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended, self._hungry = True, False
            self._changed.notify_all()

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    async def next_block(self) -> AudioBlock | None:
        """The next decoded block; None when the decoder wants more bytes or is at its end. Raises what it raised."""
        while True:
            with self._changed:
                self._news.clear()
                if self._blocks:
                    self._changed.notify_all()
                    return self._blocks.popleft()
                if self._error is not None:
                    raise self._error
                if self._done or self._hungry:
                    return None
            await self._news.wait()

    # --- the thread's side

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, at least one; b"" at the end. libav's view of the stream."""
        with self._changed:
            while not self._bytes and not self._ended and not self._abandoned:
                self._hungry = True
                self._wake()
                self._changed.wait()
            if self._abandoned:
                return b""
            size = len(self._bytes) if size < 0 else size
            data = bytes(self._bytes[:size])
            del self._bytes[:size]
            return data

    def deliver(self, block: AudioBlock) -> bool:
        """Hand over one block; False when nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._blocks) < MAX_BLOCKS or self._abandoned)
            self._blocks.append(block)
            self._wake()
            return not self._abandoned

    def fail(self, error: BaseException | None) -> None:
        """Say that nothing more comes, and why."""
        with self._changed:
            self._done, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)
