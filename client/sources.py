"""Where audio comes from: decoded files, standard input, the microphone; and the pace at which it is given."""

import asyncio
import importlib
import io
import queue
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import BinaryIO, Self, cast

import numpy as np
import numpy.typing as npt

from client.config import Config
from client.errors import NoMicrophone

STDIN = "-"
PACKET_MS = 100


def stdin_packets(packet_bytes: int = 32 * 1024) -> Iterator[bytes]:
    """Give what standard input has, as soon as it has it."""
    stdin = standard_input()
    # A file without a buffer gives what there is; a buffered one would wait until it has all that was asked for.
    read = stdin.read1 if isinstance(stdin, io.BufferedIOBase) else stdin.read
    while packet := read(packet_bytes):
        yield packet


def standard_input() -> BinaryIO:
    """Standard input without its buffer, where it has one.

    A daemon thread that waits inside the buffer holds its lock, and makes the interpreter abort when it ends.
    """
    return cast(BinaryIO, getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))


class PcmFile:
    """A recording decoded to LINEAR16 packets of `packet_ms`, channels interleaved; `-` decodes standard input.

    Opening reads up to the first samples, so that `config_fields` is known. Iterate once; close it, or use `with`.
    Raises OSError, BadAudio; may block while it reads.
    """

    def __init__(self, path: str | Path, packet_ms: int = PACKET_MS) -> None:
        # PyAV takes longer to import than the rest of the client, and only decoding needs it.
        from speech.audio import Encoding
        from speech.containers import decode

        self._is_ours = str(path) != STDIN
        self._file: BinaryIO = Path(path).open("rb") if self._is_ours else standard_input()  # noqa: SIM115
        try:
            self._blocks = decode(self._file, Encoding.AUTO)
            self._first = next(self._blocks, None)
        except BaseException:
            self.close()
            raise
        self.sample_rate = self._first.sample_rate if self._first else 16000
        self.channels = len(self._first.samples) if self._first else 1
        self.packet_s = packet_ms / 1000

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._is_ours:
            self._file.close()

    @property
    def bytes_per_second(self) -> int:
        return 2 * self.sample_rate * self.channels

    def __iter__(self) -> Iterator[bytes]:
        packet_bytes = 2 * self.channels * max(1, round(self.packet_s * self.sample_rate))
        held = bytearray()
        if self._first is not None:
            held += to_linear16(self._first.samples)
        for block in self._blocks:
            yield from _take(held, packet_bytes)
            held += to_linear16(block.samples)
        yield from _take(held, packet_bytes)
        if held:
            yield bytes(held)


def to_linear16(samples: npt.NDArray[np.float32]) -> bytes:
    """Turn (channels, n) float32 in [-1, 1] into interleaved little-endian 16-bit samples; louder ones are clipped."""
    scaled = np.clip(np.rint(samples * 32768.0), -32768, 32767)
    interleaved: bytes = scaled.T.astype("<i2").tobytes()
    return interleaved


def _take(held: bytearray, packet_bytes: int) -> Iterator[bytes]:
    """Give all whole packets of `held`, and leave the rest in it."""
    whole = len(held) - len(held) % packet_bytes
    for start in range(0, whole, packet_bytes):
        yield bytes(held[start : start + packet_bytes])
    del held[:whole]


def paced(
    packets: Iterator[bytes],
    bytes_per_second: float,
    pace: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[bytes]:
    """Give each packet when a speaker would have finished it, `pace` times as fast.

    The schedule is absolute, counted from the first call: slow consumers and coarse sleeps cause no drift.
    """
    start = clock()
    sent = 0
    for packet in packets:
        sent += len(packet)
        wait_s = start + sent / bytes_per_second / pace - clock()
        if wait_s > 0:
            sleep(wait_s)
        yield packet


async def paced_async(packets: Iterator[bytes], bytes_per_second: float, pace: float = 1.0) -> AsyncIterator[bytes]:
    """Do what `paced` does, for an event loop; `packets` is read on the loop and must not block for long."""
    clock = asyncio.get_running_loop().time
    start = clock()
    sent = 0
    for packet in packets:
        sent += len(packet)
        await asyncio.sleep(max(0.0, start + sent / bytes_per_second / pace - clock()))
        yield packet


# What `microphone` records.
MICROPHONE_CONFIG = Config(encoding="linear16", sample_rate=16000, channels=1)


def microphone(
    device: int | str | None = None, packet_ms: int = PACKET_MS, is_over: Callable[[], bool] = lambda: False
) -> Iterator[bytes]:
    """Record 16 kHz mono LINEAR16 packets until `is_over` says so; blocks while it waits for sound.

    Raises NoMicrophone where the library `sounddevice` (extra `mic`), PortAudio or a device is missing.
    """
    sounddevice = _sounddevice()
    recorded: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    rate = MICROPHONE_CONFIG.sample_rate
    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate,
            blocksize=rate * packet_ms // 1000,
            device=device,
            channels=1,
            dtype="int16",
            callback=lambda data, frames, moment, status: recorded.put(bytes(data)),
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise NoMicrophone(f"no microphone could be opened: {error}") from error
    with stream:
        while not is_over():
            try:
                yield recorded.get(timeout=0.1 + packet_ms / 1000)
            except queue.Empty:
                continue


def _sounddevice() -> ModuleType:
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise NoMicrophone("recording needs the package sounddevice: pip install 'chorus[mic]'") from error
    except OSError as error:
        raise NoMicrophone(f"recording needs PortAudio (Debian: apt-get install libportaudio2): {error}") from error
