"""Diarization with the real models: the bundled dialogue against its truth, and three hours in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from benchmarks.dialogues import load
from client.embedded import EmbeddedServer
from protos import recognizer_pb2 as audio
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc as rpc
from speech.diarization.der import DiarizationErrors, score_diarization, total
from speech.rttm import RttmTurn, read_rttm
from tests.bundled_voices import RATE, conversation
from tests.real_models import NAMES, ROOT, needs_speaker_models

pytestmark = [pytest.mark.slow, needs_speaker_models]

DIALOGUE = ROOT / "models" / "demo" / "dialogue"
HOURS = 3
ALLOWED_MIB = 250  # the audio alone is 659 MiB as float32


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(",".join(NAMES), arguments=["--gallery", ""]) as server:
        yield server


def errors(result: pb.DiarizeResponse, truth: list[RttmTurn]) -> DiarizationErrors:
    found = [
        RttmTurn(truth[0].file, each.start_ms / 1000, (each.end_ms - each.start_ms) / 1000, str(each.speaker))
        for each in result.segments
    ]
    return total(score_diarization(truth, found, collar_s=0.25))


@pytest.mark.asyncio
async def test_the_bundled_dialogue_is_told_apart_with_its_overlap(server: EmbeddedServer) -> None:
    truth = read_rttm((DIALOGUE / "dialogue.rttm").read_text(encoding="utf-8"))
    async with grpc.aio.insecure_channel(server.address) as channel:
        content = (DIALOGUE / "dialogue.ogg").read_bytes()
        request = pb.DiarizeRequest(config=pb.SpeakerAudioConfig(encoding=audio.OGG), audio=content)
        result = await rpc.SpeakerStub(channel).Diarize(request)  # type: ignore[no-untyped-call]

    found = errors(result, truth)
    assert len(result.speakers) == 2
    assert found.confused_s == 0
    assert found.rate < 0.02
    both = [each for each in result.segments if each.is_overlap]
    # Ann speaks until 16.49 s, Ben from 15.09 s on.
    assert {each.speaker for each in both} == {0, 1}
    begin, end = max(each.start_ms for each in both), min(each.end_ms for each in both)
    assert 14_900 < begin < 15_600 < 16_000 < end < 16_700


@pytest.mark.asyncio
async def test_four_voices_in_turn_are_never_confused(server: EmbeddedServer) -> None:
    samples, truth = conversation()
    config = pb.SpeakerAudioConfig(encoding=audio.FLOAT32, sample_rate_hertz=RATE)
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = pb.DiarizeRequest(config=config, audio=samples.astype("<f4").tobytes())
        result = await rpc.SpeakerStub(channel).Diarize(request)  # type: ignore[no-untyped-call]

    found = errors(result, truth)
    assert len(result.speakers) == 4
    assert found.confused_s == 0
    assert found.missed_s + found.false_alarm_s < 0.02 * found.scored_s


def packets(seconds: int) -> Iterator[bytes]:
    """The dialogue again and again, at other levels and in other noise, in messages of 4 s of LINEAR16."""
    rng = np.random.default_rng(4)
    dialogue = load(DIALOGUE / "dialogue.ogg")
    left = seconds * RATE
    while left > 0:
        part = dialogue[:left] * 10 ** (rng.uniform(-10, 0) / 20)
        part = part + rng.normal(0.0, 10 ** (rng.uniform(-70, -50) / 20), len(part))
        data = (part.clip(-1, 1) * 32767).astype("<i2").tobytes()
        yield from (data[begin : begin + 8 * RATE] for begin in range(0, len(data), 8 * RATE))
        left -= len(part)


@pytest.mark.timeout(7200)
@pytest.mark.asyncio
async def test_three_hours_of_speech_fit_into_a_bound_of_memory(
    server: EmbeddedServer, record_property: Callable[[str, Any], None]
) -> None:
    assert server.pid is not None
    process, result = psutil.Process(server.pid), None
    before = peak = process.memory_info().rss

    async def messages() -> AsyncIterator[pb.DiarizeStreamRequest]:
        config = pb.SpeakerAudioConfig(encoding=audio.LINEAR16, sample_rate_hertz=RATE)
        yield pb.DiarizeStreamRequest(config=pb.DiarizeStreamConfig(config=config))
        for packet in packets(HOURS * 3600):
            yield pb.DiarizeStreamRequest(audio_content=packet)

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = rpc.SpeakerStub(channel)  # type: ignore[no-untyped-call]
        async for message in stub.DiarizeStream(messages()):
            peak = max(peak, process.memory_info().rss)
            result = message.result if message.WhichOneof("streaming_response") == "result" else result
    assert result is not None
    peak = max(peak, process.memory_info().rss)
    record_property("mebibytes, before and at most", [before >> 20, peak >> 20])
    record_property("pieces", result.num_windows)
    assert result.audio_seconds == pytest.approx(HOURS * 3600)
    assert result.num_windows > 8_000
    assert len(result.speakers) >= 2
    assert (peak - before) / 2**20 < ALLOWED_MIB
