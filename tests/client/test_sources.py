import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from client.packets import from_thread, read_packets
from client.sources import PcmFile, paced, paced_async, stdin_packets, to_linear16
from protos import recognizer_pb2 as pb
from speech.errors import BadAudio


def recording(path: Path, channels: int = 1, rate: int = 16000, count: int = 4000) -> np.ndarray:
    samples = np.random.default_rng(3).integers(-30000, 30000, (count, channels), dtype=np.int16)
    soundfile.write(path, samples, rate)
    return samples


@pytest.mark.parametrize(("name", "channels", "rate"), [("a.wav", 1, 16000), ("a.flac", 2, 8000), ("a.wav", 3, 44100)])
def test_a_decoded_file_gives_its_exact_samples_in_even_packets(
    tmp_path: Path, name: str, channels: int, rate: int
) -> None:
    samples = recording(tmp_path / name, channels, rate)
    with PcmFile(tmp_path / name, packet_ms=50) as pcm:
        packets = list(pcm)
        assert (pcm.sample_rate, pcm.channels, pcm.bytes_per_second) == (rate, channels, 2 * rate * channels)
    assert b"".join(packets) == samples.astype("<i2").tobytes()
    assert {len(packet) for packet in packets[:-1]} == {2 * channels * round(rate * 0.05)}
    assert 0 < len(packets[-1]) <= len(packets[0])


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_pipe_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    samples = recording(tmp_path / name, count=100_000)
    with subprocess.Popen(["cat", str(tmp_path / name)], stdout=subprocess.PIPE) as process:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=process.stdout))
        with PcmFile("-") as pcm:
            assert b"".join(pcm) == samples.astype("<i2").tobytes()
        assert process.stdout is not None
        assert not process.stdout.closed


def test_a_file_that_is_no_audio_is_refused_on_opening(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio at all")
    with pytest.raises(BadAudio):
        PcmFile(tmp_path / "a.wav")


def test_loud_samples_are_clipped() -> None:
    samples = np.array([[0.0, 1.0, -1.0, 7.0, -7.0]], np.float32)
    assert np.frombuffer(to_linear16(samples), "<i2").tolist() == [0, 32767, -32768, 32767, -32768]


def test_raw_packets_are_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 10)
    assert [len(packet) for packet in read_packets(tmp_path / "a", 1000)] == [1000, 1000, 560]
    with (tmp_path / "a").open("rb") as stdin:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
        assert b"".join(stdin_packets()) == bytes(range(256)) * 10


class HandTime:
    """A clock that only sleeping moves, and oversleeps by a fifth of a second each time."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + 0.2


@pytest.mark.parametrize("pace", [1.0, 4.0])
def test_pace_keeps_an_absolute_schedule_in_spite_of_long_sleeps(pace: float) -> None:
    time = HandTime()
    packets = paced(iter([b"x" * 1000] * 50), 1000.0, pace, time.clock, time.sleep)
    given = [time.now - 100.0 for _ in packets]
    for index, moment in enumerate(given, start=1):
        assert index / pace <= moment <= index / pace + 0.2 + 1e-6


def test_pace_never_waits_for_a_consumer_that_is_late() -> None:
    time = HandTime()
    packets = paced(iter([b"x" * 1000] * 3), 1000.0, 1.0, time.clock, time.sleep)
    next(packets)
    time.now += 10
    before = time.now
    assert len(list(packets)) == 2
    assert time.now == before


def test_async_pace_gives_all_packets_not_before_their_time() -> None:
    async def run() -> tuple[list[bytes], float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        packets = [packet async for packet in paced_async(iter([b"ab", b"cd"]), 100.0)]
        return packets, loop.time() - began

    packets, took = asyncio.run(run())
    assert packets == [b"ab", b"cd"]
    assert took >= 0.039


def test_a_thread_reads_at_most_a_little_ahead_and_ends_with_its_reader() -> None:
    read = []

    def source() -> Iterator[pb.StreamingRecognizeRequest]:
        for number in range(1000):
            read.append(number)
            yield pb.StreamingRecognizeRequest(audio_content=bytes([number % 256]))

    async def run() -> None:
        requests = from_thread(source(), ahead=2)
        for _ in range(5):
            await anext(requests)
        await requests.aclose()

    asyncio.run(run())
    assert len(read) <= 9
