"""Speaker tags on the words of Recognize over real gRPC: stand-ins tell hums apart, a random network finds words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server.app import Server
from server.options import SpeakerTagOptions
from server.speaker import models
from server.speaker.tagging import SpeakerTagger
from tests.server.speaker.support import WESPEAKER, LoudnessVad, float32, folder_of, nothing_left, refused
from tests.server.speaker.test_diarize import TRUTH, SpectrumEngine, dialogue
from tests.server.support import RATE, config_message, ending, running, tiny_config

CODE = grpc.StatusCode
RECOGNISER = "w2"


@pytest.fixture(autouse=True)
def predictable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SileroVad", LoudnessVad)
    monkeypatch.setattr(models, "open_speaker", SpectrumEngine)


@asynccontextmanager
async def recognising(folder: Path, **sections: Any) -> AsyncIterator[tuple[Server, rpc.RecognizerAsyncStub]]:
    config = tiny_config(folder, speaker={"gallery": ""}, **sections)
    async with running(config) as (server, stub):
        yield server, stub
        await nothing_left(server)


def request(samples: np.ndarray, **diarization: Any) -> pb.RecognizeRequest:
    """`samples` (n,) or (n, channels)."""
    channels = samples.shape[1] if samples.ndim > 1 else 1
    config = pb.RecognitionConfig(
        encoding=pb.FLOAT32, sample_rate_hertz=RATE, audio_channel_count=channels, max_alternatives=2,
        diarization_config=pb.SpeakerDiarizationConfig(**diarization) if diarization else None,
    )  # fmt: skip
    return pb.RecognizeRequest(config=config, audio=float32(samples))


def words_of(response: pb.RecognizeResponse, channel: int = 0) -> list[pb.WordInfo]:
    results = [result for result in response.results if result.channel_tag == channel]
    return [word for result in results for alternative in result.alternatives for word in alternative.words]


def real_speaker(word: pb.WordInfo) -> int:
    """The speaker, from 1, of a word that lies in one turn nearly whole; else 0."""
    for begin, end, who in TRUTH:
        shared = min(word.end_ms, end * 1000) - max(word.start_ms, begin * 1000)
        if shared > 0.8 * (word.end_ms - word.start_ms):
            return who + 1
    return 0


@pytest.mark.asyncio
async def test_words_carry_the_speaker_who_was_speaking(tmp_path: Path) -> None:
    async with recognising(folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)) as (_, stub):
        response = await stub.Recognize(request(dialogue(), enable_speaker_diarization=True, speaker_count=2))
        plain = await stub.Recognize(request(dialogue()))

        sure = [(real_speaker(word), word.speaker_tag) for word in words_of(response) if real_speaker(word)]
        assert {really for really, _ in sure} == {1, 2}, "the random model says words of both"
        assert all(really == tag for really, tag in sure)
        assert all(word.speaker_tag in (0, 1, 2) for word in words_of(response))
        assert [each.alternatives[0].transcript for each in response.results] == [
            each.alternatives[0].transcript for each in plain.results
        ]
        assert not words_of(plain), "words come with the tags, unasked for"


@pytest.mark.asyncio
async def test_every_channel_has_speakers_of_its_own(tmp_path: Path) -> None:
    one = dialogue(TRUTH[1:2])
    async with recognising(folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)) as (_, stub):
        both = np.stack([dialogue(), one], axis=1)
        response = await stub.Recognize(request(both, enable_speaker_diarization=True))

        assert {word.speaker_tag for word in words_of(response, 1)} >= {1, 2}
        assert {word.speaker_tag for word in words_of(response, 2)} <= {0, 1}
        assert any(word.speaker_tag == 1 for word in words_of(response, 2))


@pytest.mark.asyncio
async def test_the_number_of_speakers_can_be_told(tmp_path: Path) -> None:
    async with recognising(folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)) as (_, stub):
        for counts, most in (({"speaker_count": 1}, 1), ({"max_speaker_count": 1}, 1), ({"min_speaker_count": 3}, 3)):
            response = await stub.Recognize(request(dialogue(), enable_speaker_diarization=True, **counts))
            tags = {word.speaker_tag for word in words_of(response)} - {0}
            assert max(tags) == most, (counts, tags)


@pytest.mark.asyncio
async def test_silence_and_nothing_have_no_speakers(tmp_path: Path) -> None:
    async with recognising(folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)) as (_, stub):
        for samples in (np.zeros(3 * RATE, np.float32), np.zeros(0, np.float32), dialogue()[:399]):
            response = await stub.Recognize(request(samples, enable_speaker_diarization=True))
            assert all(word.speaker_tag == 0 for word in words_of(response))


@pytest.mark.asyncio
async def test_a_recogniser_of_another_rate_shares_the_speaker_models(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)
    async with recognising(folder) as (server, _):
        with ThreadPoolExecutor(1) as executor:
            tagging = SpeakerTagger(server.speakers, executor).tagging(SpeakerTagOptions("", 2, 2))
            speakers = await tagging.speakers(dialogue()[::2].copy(), RATE // 2)

        spans = [(int(1000 * begin) + 500, int(1000 * end) - 500) for begin, end, _ in TRUTH]
        assert [speakers.speaker(*span) for span in spans] == [1, 2, 1, 2]


BAD: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({"speaker_count": 101}, CODE.INVALID_ARGUMENT, "diarization_config.speaker_count is 101; allowed: 0 to 100"),
    ({"min_speaker_count": -1}, CODE.INVALID_ARGUMENT, "diarization_config.min_speaker_count is -1"),
    ({"speaker_count": 2, "max_speaker_count": 3}, CODE.INVALID_ARGUMENT, "cannot be asked for beside"),
    ({"min_speaker_count": 3, "max_speaker_count": 2}, CODE.INVALID_ARGUMENT, "max_speaker_count is 2; allowed: min"),
    ({"model": "nobody"}, CODE.NOT_FOUND, f"speaker model 'nobody' is unknown; speaker models: {WESPEAKER}"),
    (
        {"enable_speaker_diarization": False, "speaker_count": 2},
        CODE.INVALID_ARGUMENT,
        "speaker_count has no meaning without enable_speaker_diarization",
    ),
]


@pytest.mark.asyncio
async def test_bad_options_are_named_with_what_is_allowed(tmp_path: Path) -> None:
    async with recognising(folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)) as (_, stub):
        for fields, wanted, text in BAD:
            code, details = await refused(
                stub.Recognize(request(dialogue(), **{"enable_speaker_diarization": True, **fields}))
            )
            assert code is wanted, (fields, details)
            assert text in details, (fields, details)


@pytest.mark.asyncio
async def test_missing_models_are_named_with_how_to_get_them(tmp_path: Path) -> None:
    cases = ((), CODE.NOT_FOUND, "models pull campplus"), ((WESPEAKER,), CODE.FAILED_PRECONDITION, "pull silero-vad")
    for names, wanted, text in cases:
        (tmp_path / str(len(names))).mkdir()
        async with recognising(folder_of(tmp_path / str(len(names)), RECOGNISER, *names)) as (_, stub):
            code, details = await refused(stub.Recognize(request(dialogue(), enable_speaker_diarization=True)))
            assert code is wanted
            assert text in details


@pytest.mark.asyncio
async def test_audio_beyond_the_diarizations_limit_is_refused_as_diarize_does(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)
    config = tiny_config(folder, speaker={"gallery": "", "max_audio_s": 10.0})
    async with running(config) as (_, stub):
        code, details = await refused(stub.Recognize(request(dialogue(), enable_speaker_diarization=True)))
        assert (code, "speaker.max_audio_s" in details) == (CODE.INVALID_ARGUMENT, True)
        assert (await stub.Recognize(request(dialogue()))).audio_processed == 15.0


@pytest.mark.asyncio
async def test_streams_refuse_tags_and_say_what_to_use(tmp_path: Path) -> None:
    async with recognising(folder_of(tmp_path, RECOGNISER, WESPEAKER, vad=True)) as (_, stub):
        tags = pb.SpeakerDiarizationConfig(enable_speaker_diarization=True)
        call = stub.StreamingRecognize()
        await call.write(config_message(diarization_config=tags))
        assert await ending(call) is CODE.INVALID_ARGUMENT
        assert "use Recognize" in await call.details()
