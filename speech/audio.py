"""Raw PCM bytes to samples, whatever the size of the packets. Containers are `speech/containers.py`."""

import enum

import numpy as np
import numpy.typing as npt

from speech.errors import BadAudio, BadOption

Samples = npt.NDArray[np.float32]
"""float32 in [-1, 1]: (channels, n), or (n,) where the text says mono."""

MAX_CHANNELS = 32
MAX_MAGNITUDE = 65536.0
"""Louder than any integer format: such floats are damaged data, and their squares would overflow the features."""


class Encoding(enum.Enum):
    """How the bytes of a call carry audio. AUTO, the default, means one of the containers, found by its first bytes."""

    AUTO = "auto"
    LINEAR16 = "linear16"
    FLOAT32 = "float32"
    MULAW = "mulaw"
    ALAW = "alaw"
    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"

    @property
    def is_container(self) -> bool:
        """Whether the bytes state rate and channels themselves, so that `speech.containers.decode` reads them."""
        return self not in _SAMPLE_BYTES


_SAMPLE_BYTES = {Encoding.LINEAR16: 2, Encoding.FLOAT32: 4, Encoding.MULAW: 1, Encoding.ALAW: 1}


def _mulaw_table() -> Samples:
    """All 256 values of ITU-T G.711 mu-law: inverted bits, 3 bits of exponent, 4 of mantissa, bias 132."""
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)) - 132
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _alaw_table() -> Samples:
    """All 256 values of ITU-T G.711 A-law: even bits inverted, linear below exponent 1, a set sign bit is positive."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, (code & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


_TABLES = {Encoding.MULAW: _mulaw_table(), Encoding.ALAW: _alaw_table()}


def require_finite(samples: Samples, first_sample: int) -> None:
    """Raise BadAudio naming the first sample that no recording can hold; `first_sample` is the position of column 0."""
    usable = np.abs(samples) <= MAX_MAGNITUDE  # false for NaN too
    if usable.all():
        return
    channel, column = np.argwhere(~usable)[0]
    raise BadAudio(
        f"sample {first_sample + column} of channel {channel} is {samples[channel, column]}: "
        f"float audio must be finite and is expected in [-1, 1]"
    )


class PcmDecoder:
    """Decode one stream's packets of interleaved PCM; a sample cut by a packet's end waits for the next packet."""

    def __init__(self, encoding: Encoding, channels: int) -> None:
        """Raises BadOption for a container encoding and for a channel count outside 1 to 32."""
        if encoding.is_container:
            allowed = ", ".join(raw.value for raw in _SAMPLE_BYTES)
            raise BadOption(f"encoding {encoding.value} is not raw PCM (allowed: {allowed})")
        if not 1 <= channels <= MAX_CHANNELS:
            raise BadOption(f"{channels} channels given, 1 to {MAX_CHANNELS} allowed")
        self._encoding = encoding
        self._channels = channels
        self.frame_bytes = channels * _SAMPLE_BYTES[encoding]
        self._partial = b""
        self._num_decoded = 0  # per channel, to name a bad sample's place

    def push(self, data: bytes | memoryview) -> Samples:
        """Return the samples that `data` completes, (channels, n). Raises BadAudio for NaN and infinity in FLOAT32."""
        view = memoryview(self._partial + data if self._partial else data)
        num_bytes = len(view) - len(view) % self.frame_bytes
        self._partial = bytes(view[num_bytes:])
        interleaved = self._to_float(view[:num_bytes])
        samples = np.ascontiguousarray(interleaved.reshape(-1, self._channels).T)
        if self._encoding is Encoding.FLOAT32:
            require_finite(samples, self._num_decoded)
        self._num_decoded += samples.shape[1]
        return samples

    @property
    def num_partial_bytes(self) -> int:
        """Bytes of a sample that has not arrived whole; `frame_bytes` make one sample of every channel."""
        return len(self._partial)

    def flush(self) -> None:
        """End the stream: a sample of which only a part arrived is dropped, and the decoder is as new."""
        self._partial = b""
        self._num_decoded = 0

    def _to_float(self, data: memoryview) -> Samples:
        if self._encoding is Encoding.FLOAT32:
            return np.frombuffer(data, dtype="<f4").astype(np.float32)  # a copy: the packet's memory is not ours
        if self._encoding is Encoding.LINEAR16:
            samples = np.frombuffer(data, dtype="<i2").astype(np.float32)
            samples *= np.float32(1 / 32768)
            return samples
        return _TABLES[self._encoding][np.frombuffer(data, dtype=np.uint8)]
