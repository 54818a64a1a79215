"""Hours of audio through DiarizeStream: memory stays bounded, and so does what the client waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from protos import speaker_pb2 as pb
from server.speaker import models
from tests.server.speaker.support import WESPEAKER, LoudnessVad, config, float32, folder_of, speaking, voice
from tests.server.speaker.test_diarize import SpectrumEngine
from tests.server.support import RATE

HOURS = 3
BLOCK_S = 60
ALLOWED_MIB = 200  # the audio alone is 659 MiB as float32


class QuickEngine(SpectrumEngine):
    """As its base, from a tenth of the audio: this test is not about embeddings."""

    dimension = 192

    def features(self, samples: np.ndarray) -> np.ndarray:
        return np.abs(np.fft.rfft(samples[:24000].reshape(-1, 1600)[::5]))[:, :192].astype(np.float32)


def minute() -> bytes:
    """Two hums in turns of 2 to 6 s with pauses of half a second."""
    samples = np.zeros(BLOCK_S * RATE, np.float32)
    lengths, at, speaker = [4, 3, 6, 2, 5, 4, 6, 3, 5, 4, 6, 5], 0.2, 0
    for length in lengths:
        spoken = voice(length, (1, 4)[speaker])[: int((BLOCK_S - at) * RATE)]
        samples[int(at * RATE) : int(at * RATE) + len(spoken)] = spoken
        at, speaker = at + length + 0.5, 1 - speaker
    return float32(samples)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.asyncio
async def test_three_hours_fit_into_a_third_of_their_own_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SileroVad", LoudnessVad)
    monkeypatch.setattr(models, "open_speaker", QuickEngine)
    block, process, peak = minute(), psutil.Process(), 0
    packet = 4 * RATE

    async def messages() -> AsyncIterator[pb.DiarizeStreamRequest]:
        yield pb.DiarizeStreamRequest(config=pb.DiarizeStreamConfig(config=config()))
        for _ in range(HOURS * 3600 // BLOCK_S):
            for begin in range(0, len(block), packet):
                yield pb.DiarizeStreamRequest(audio_content=block[begin : begin + packet])

    async with speaking(folder_of(tmp_path, WESPEAKER, vad=True)) as (_, stub):
        before, result = process.memory_info().rss, None
        call: Any = stub.DiarizeStream(messages())
        async for message in call:
            peak = max(peak, process.memory_info().rss)
            result = message.result if message.WhichOneof("streaming_response") == "result" else result
        assert result is not None
        grown_mib = (max(peak, process.memory_info().rss) - before) / 2**20
        assert result.audio_seconds == pytest.approx(HOURS * 3600)
        assert result.num_windows > 10_000
        assert len(result.speakers) == 2
        assert grown_mib < ALLOWED_MIB
