"""WAV headers and samples. Read here, not by libav, which gives no sample before it has 64 KB (2 s at 16 kHz)."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from speech.audio import MAX_CHANNELS, Encoding, PcmDecoder, Samples
from speech.errors import BadAudio
from speech.resample import require_rate

Read = Callable[[int], bytes]
"""Return at most n bytes, waiting for the first one if need be; no bytes mean the end."""

_READ_BYTES = 1 << 15
_UNKNOWN_BYTES = 0x7FFF_0000
"""Writers to a pipe do not know the length: sox states 0x7FFFF000 bytes of data, ffmpeg 0xFFFFFFFF, others 0."""
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_LAYOUTS = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64), (_ALAW, 8), (_MULAW, 8)}


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What stands before the samples; `data_bytes` is None where the writer did not know it."""

    tag: int
    bits: int
    channels: int
    sample_rate: int
    data_bytes: int | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


def read_header(read: Read) -> WavHeader:
    """Read up to the first sample. Raises BadAudio for a damaged header and for formats that are not plain samples."""
    if _exactly(read, 12)[8:] != b"WAVE":
        raise BadAudio("wav data does not begin with a RIFF header of type WAVE")
    layout: tuple[int, int, int, int] | None = None
    while True:
        name, size = struct.unpack("<4sI", _exactly(read, 8))
        if name == b"data":
            break
        if name == b"fmt ":
            layout = _parse_format(_exactly(read, size + size % 2) if 16 <= size <= 4096 else b"")
        else:
            _skip(read, size + size % 2)  # chunks are padded to even lengths
    if layout is None:
        raise BadAudio("wav data has its samples before its format")
    return WavHeader(*layout, data_bytes=size if 0 < size < _UNKNOWN_BYTES else None)


def read_samples(read: Read, header: WavHeader) -> Iterator[Samples]:
    """Yield (channels, n) float32 blocks as their bytes come. Raises BadAudio when fewer come than the header says."""
    to_float = _converter(header)
    num_bytes, partial = 0, b""
    while header.data_bytes is None or num_bytes < header.data_bytes:
        wanted = _READ_BYTES if header.data_bytes is None else min(_READ_BYTES, header.data_bytes - num_bytes)
        packet = read(wanted)
        if not packet:
            break
        num_bytes += len(packet)
        data = partial + packet
        whole = len(data) - len(data) % header.frame_bytes
        partial = data[whole:]
        if whole:
            yield to_float(data[:whole])
    _require_complete(header, num_bytes)


def _require_complete(header: WavHeader, num_bytes: int) -> None:
    declared = (header.data_bytes or 0) // header.frame_bytes
    if num_bytes // header.frame_bytes < declared:
        raise BadAudio(
            f"wav data is cut short: {num_bytes // header.frame_bytes} of the {declared} samples its header declares"
        )


def _parse_format(chunk: bytes) -> tuple[int, int, int, int]:
    if not chunk:
        raise BadAudio("wav data has a format chunk of impossible size")
    tag, channels, sample_rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)  # the first bytes of the GUID are the old tag
    if (tag, bits) not in _LAYOUTS:
        raise BadAudio(
            f"wav data of format tag {tag:#x} with {bits} bits is not supported "
            f"(allowed: PCM of 8, 16, 24, 32 bits, float of 32, 64 bits, mu-law and A-law)"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadAudio(f"wav data has {channels} channels, 1 to {MAX_CHANNELS} allowed")
    require_rate(sample_rate)
    return tag, bits, channels, sample_rate


def _converter(header: WavHeader) -> Callable[[bytes], Samples]:
    """Return what turns whole frames of bytes into (channels, n)."""
    known = {
        (_PCM, 16): Encoding.LINEAR16,
        (_FLOAT, 32): Encoding.FLOAT32,
        (_MULAW, 8): Encoding.MULAW,
        (_ALAW, 8): Encoding.ALAW,
    }
    encoding = known.get((header.tag, header.bits))
    if encoding is not None:
        return PcmDecoder(encoding, header.channels).push
    # The rest as float32, which then passes the same checks.
    decoder = PcmDecoder(Encoding.FLOAT32, header.channels)
    return lambda data: decoder.push(_widen(data, header).astype("<f4").tobytes())


def _widen(data: bytes, header: WavHeader) -> Samples:
    if header.tag == _FLOAT:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused
            return np.frombuffer(data, "<f8").astype(np.float32)
    if header.bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if header.bits == 24:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data = padded.tobytes()
    return (np.frombuffer(data, "<i4") / 2147483648).astype(np.float32)


def _exactly(read: Read, n: int) -> bytes:
    data = b""
    while len(data) < n:
        more = read(n - len(data))
        if not more:
            raise BadAudio("wav data ends inside its header")
        data += more
    return data


def _skip(read: Read, n: int) -> None:
    while n:
        n -= len(_exactly(read, min(n, _READ_BYTES)))
