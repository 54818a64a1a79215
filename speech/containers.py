"""Audio files and streams of files to samples: FLAC, Ogg and MP3 by libav, WAV by `speech/wav.py`."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import av
import av.logging
import numpy as np

from speech.audio import MAX_CHANNELS, Encoding, Samples, require_finite
from speech.errors import BadAudio, BadOption
from speech.resample import require_rate
from speech.wav import read_header, read_samples

# What is wrong with a file is told by BadAudio, once; libav would write its own lines to stderr as well.
av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)

_HEAD_BYTES = 12
_FORMATS = {Encoding.WAV: "wav", Encoding.FLAC: "flac", Encoding.OGG: "ogg", Encoding.MP3: "mp3"}
_CODECS = {
    Encoding.FLAC: ("flac",),
    Encoding.OGG: ("opus", "libopus", "vorbis", "libvorbis", "flac"),
    Encoding.MP3: ("mp3",),
}
"""Beginnings of the decoder names that each container may lead to: libav knows hundreds, all of them attack surface."""


class Source(Protocol):
    """Where the bytes come from; it need not be seekable."""

    def read(self, n: int, /) -> bytes:
        """Return at most n bytes, waiting for the first one if need be; no bytes mean the end."""
        ...


OPUS_RATES = frozenset({8000, 12000, 16000, 24000, 48000})
"""What was recorded may have had any of these; Opus is always decoded at 48 kHz."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioBlock:
    """Some decoded audio: (channels, n) float32 in [-1, 1], n >= 1, and its rate in Hz; both stay for a source.

    `other_rates` are rates in Hz by which a caller may know the same audio.
    """

    samples: Samples
    sample_rate: int
    other_rates: frozenset[int] = frozenset()


def decode(source: Source, encoding: Encoding) -> Iterator[AudioBlock]:
    """Decode a container, yielding each block as soon as its bytes have come; `AUTO` finds the container by its start.

    Blocks its thread in `source.read`; exceptions from there pass through. Raises BadOption for raw PCM encodings and
    BadAudio for data that is damaged, cut short against its own header, of another format, or of a rate outside
    8000 to 48000 Hz. WAV headers without a length are fine: the data then ends where the source ends. Ogg and MP3
    carry no length, so a cut inside their audio only makes it shorter.
    """
    if not encoding.is_container:
        raise BadOption(f"encoding {encoding.value} is raw PCM, not a container (allowed: auto, {_names()})")
    return _decode(_Reader(source), encoding)


def sniff(head: bytes) -> Encoding | None:
    """Return the container that these first 12 bytes begin, or None. AUTO is never returned."""
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return Encoding.WAV
    if head[:4] == b"fLaC":
        return Encoding.FLAC
    if head[:4] == b"OggS":
        return Encoding.OGG
    return Encoding.MP3 if head[:3] == b"ID3" or _is_mpeg_frame(head) else None


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether an MPEG layer III frame header stands here: 11 bits of sync, then fields with forbidden values."""
    if len(head) < 4:
        return False
    (word,) = struct.unpack(">I", head[:4])
    version, layer, bitrate, rate = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    return word >> 21 == 0x7FF and version != 1 and layer == 1 and bitrate not in (0, 15) and rate != 3


class _Reader:
    """A source whose first bytes can be looked at. Has no `seek`, so libav reads it once, from start to end."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._held = b""
        self.num_read = 0
        self.failure: BaseException | None = None

    def peek(self, n: int) -> bytes:
        """Return the next n bytes, or all there are, and keep them for `read`."""
        while len(self._held) < n:
            more = self._source.read(n - len(self._held))
            if not more:
                break
            self._held += more
        return self._held

    def read(self, n: int) -> bytes:
        held, self._held = self._held[:n], self._held[n:]
        try:
            data = held or self._source.read(n)
        except BaseException as failure:
            self.failure = failure  # libav turns it into an error of its own
            raise
        self.num_read += len(data)
        return data


def _decode(reader: _Reader, encoding: Encoding) -> Iterator[AudioBlock]:
    container = _identify(reader.peek(_HEAD_BYTES), encoding)
    if container is not Encoding.WAV:
        yield from _decode_by_libav(reader, container)
        return
    header = read_header(reader.read)
    for samples in read_samples(reader.read, header):
        yield AudioBlock(samples, header.sample_rate)


def _decode_by_libav(reader: _Reader, container: Encoding) -> Iterator[AudioBlock]:
    num_samples = 0
    with _libav_errors(reader, container), av.open(reader, "r", format=_FORMATS[container]) as opened:
        stream = _audio_stream(opened, container)
        rate, channels = stream.rate, stream.channels
        other_rates = OPUS_RATES if "opus" in stream.codec_context.name else frozenset[int]()
        for packet in opened.demux(stream):
            for frame in packet.decode():
                if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                    raise BadAudio(
                        f"{container.value} audio changes from {rate} Hz, {channels} channels to "
                        f"{frame.sample_rate} Hz, {frame.layout.nb_channels} channels after {num_samples} samples"
                    )
                samples = _to_float(frame)[:, : _length_of_vorbis_end(packet, num_samples)]
                if samples.shape[1]:
                    require_finite(samples, num_samples)
                    num_samples += samples.shape[1]
                    yield AudioBlock(samples, rate, other_rates)
        _require_complete(stream, container, num_samples)


def _length_of_vorbis_end(packet: "av.Packet[av.AudioStream]", num_samples: int) -> int | None:
    """Samples that a packet may add at most; None for no limit.

    A Vorbis stream says where it ends inside its last packet. libav honours that unless the stream is a single page:
    then the packet's duration is negative, in 32 bits, and only the time where it ends is right.
    """
    if packet.pts is None or packet.duration is None or packet.duration < 1 << 31:
        return None
    return max(0, packet.pts + packet.duration - (1 << 32) - num_samples)


def _identify(head: bytes, encoding: Encoding) -> Encoding:
    if not head:
        expected = _names() if encoding is Encoding.AUTO else encoding.value
        raise BadAudio(f"no audio: the data is empty (expected {expected})")
    found = sniff(head)
    if encoding is Encoding.AUTO and found is None:
        raise BadAudio(
            f"data beginning with {head!r} is none of the formats allowed: {_names()}; raw PCM must be named"
        )
    if encoding is Encoding.AUTO or encoding is found:
        assert found is not None, "AUTO without a format was refused above"
        return found
    # An MP3 may begin with anything that is not a frame; libav looks for the first one.
    if encoding is Encoding.MP3 and found is None:
        return encoding
    seen = f"which is {found.value}" if found else f"none of the formats allowed ({_names()})"
    raise BadAudio(f"expected {encoding.value}, got data beginning with {head!r}, {seen}")


def _names() -> str:
    return ", ".join(encoding.value for encoding in _FORMATS)


@contextmanager
def _libav_errors(reader: _Reader, container: Encoding) -> Iterator[None]:
    """Turn what libav makes of damaged data into BadAudio, and give failures of the source back as they were."""
    try:
        yield
    except (av.FFmpegError, EOFError, ValueError, IndexError) as error:
        if reader.failure is not None:
            raise reader.failure from None
        reason = str(getattr(error, "strerror", None) or error)
        if isinstance(error, EOFError):
            reason = "it ends before any audio is complete"
        raise BadAudio(
            f"{container.value} data is damaged within its first {reader.num_read} bytes: {reason}"
        ) from error


def _audio_stream(opened: av.container.InputContainer, container: Encoding) -> av.AudioStream:
    if not opened.streams.audio:
        raise BadAudio(f"{container.value} data holds no audio")
    stream = opened.streams.audio[0]
    codec = stream.codec_context.name
    if not codec.startswith(_CODECS[container]):
        raise BadAudio(f"{container.value} data holds {codec} audio (allowed: {', '.join(_CODECS[container])})")
    if not stream.rate:
        raise BadAudio(f"{container.value} data holds no audio that can be decoded")
    require_rate(stream.rate)
    if not 1 <= stream.channels <= MAX_CHANNELS:
        raise BadAudio(f"{container.value} data has {stream.channels} channels, 1 to {MAX_CHANNELS} allowed")
    # Threads would only add delay: a stream's next packet has not come yet.
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


_FULL_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "flt": 1.0, "dbl": 1.0}


def _to_float(frame: av.AudioFrame) -> Samples:
    kind = frame.format.name.removesuffix("p")
    if kind not in _FULL_SCALE:
        raise BadAudio(f"samples of kind {frame.format.name} are not supported")
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    offset = 128.0 if kind == "u8" else 0.0
    return np.ascontiguousarray((array - offset) / _FULL_SCALE[kind], dtype=np.float32)


def _require_complete(stream: av.AudioStream, container: Encoding, num_samples: int) -> None:
    """Raise BadAudio where bytes came but no audio, or less than a FLAC header promises."""
    declared = 0
    if container is Encoding.FLAC and stream.duration is not None and stream.time_base is not None:
        declared = round(stream.duration * stream.time_base * stream.rate)
    if num_samples < declared:
        raise BadAudio(f"flac data is cut short: {num_samples} of the {declared} samples its header declares")
    if num_samples == 0 and container is Encoding.MP3:
        raise BadAudio("mp3 data holds no audio frame")
