"""Whole pieces of encoded audio to samples, on a thread: what unary calls of every service begin with."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

import numpy as np

from server.errors import BadRequest
from server.options import MAX_CHANNELS, AudioFormat
from speech.audio import PcmDecoder
from speech.containers import AudioBlock, decode
from speech.errors import BadAudio
from speech.resample import Resampler

DECODE_SLICE = 1 << 20  # bytes decoded at a time: bounds the float copy of a long file


async def decode_whole(
    executor: Executor,
    audio: AudioFormat,
    sample_rate: int,
    data: bytes,
    max_audio_s: float,
    setting: str,
    then: Callable[[np.ndarray], None] | None = None,
) -> np.ndarray:
    """Return all channels at `sample_rate`, (channels, n) float32, decoded on a thread of `executor`.

    `then` is called with them on that thread, which spares another hand-over. The thread stops early when the caller
    has gone. Raises BadRequest where a header contradicts the request, BadAudio
    for bytes that are not what they should be, or for more than `max_audio_s` of all channels together; `setting` names
    that limit.
    """
    abandoned = threading.Event()
    loop = asyncio.get_running_loop()
    limit = int(max_audio_s * sample_rate)
    try:
        samples = await loop.run_in_executor(executor, _decode_then, audio, sample_rate, data, limit, abandoned, then)
    finally:
        abandoned.set()
    if samples is None:
        raise BadAudio(f"audio is longer than {max_audio_s:g} s, the limit ({setting})")
    return samples


def _decode_then(
    audio: AudioFormat,
    sample_rate: int,
    data: bytes,
    limit: int,
    abandoned: threading.Event,
    then: Callable[[np.ndarray], None] | None,
) -> np.ndarray | None:
    samples = _decode(audio, sample_rate, data, limit, abandoned)
    if samples is not None and then is not None and not abandoned.is_set():
        then(samples)
    return samples


def _decode(
    audio: AudioFormat, sample_rate: int, data: bytes, limit: int, abandoned: threading.Event
) -> np.ndarray | None:
    """All samples, or None where there are more than `limit`."""
    resampler: Resampler | None = None
    parts: list[np.ndarray] = []
    total = 0
    for block in _blocks(audio, data):
        if resampler is None:
            _check_header(audio, block)
            resampler = Resampler(block.sample_rate, sample_rate, len(block.samples))
        parts.append(resampler.push(block.samples))
        total += parts[-1].size
        if abandoned.is_set():
            break
        if total > limit:
            return None
    if resampler is None:
        return np.zeros((0, 0), np.float32)
    return np.concatenate([*parts, resampler.flush()], axis=1)


def _blocks(audio: AudioFormat, data: bytes) -> Iterator[AudioBlock]:
    if audio.encoding.is_container:
        yield from decode(io.BytesIO(data), audio.encoding)
        return
    decoder = PcmDecoder(audio.encoding, audio.channels)
    for begin in range(0, len(data), DECODE_SLICE):
        yield AudioBlock(decoder.push(data[begin : begin + DECODE_SLICE]), audio.sample_rate)
    decoder.flush()


def _check_header(audio: AudioFormat, block: AudioBlock) -> None:
    """Refuse a container whose header contradicts the request."""
    if audio.sample_rate not in (0, block.sample_rate, *block.other_rates):
        raise BadRequest(f"sample_rate_hertz is {audio.sample_rate}, but the audio's header says {block.sample_rate}")
    if len(block.samples) > MAX_CHANNELS:
        raise BadRequest(f"the audio has {len(block.samples)} channels; allowed: 1 to {MAX_CHANNELS}")
    if audio.channels not in (0, len(block.samples)):
        raise BadRequest(f"audio_channel_count is {audio.channels}, but the audio's header says {len(block.samples)}")
