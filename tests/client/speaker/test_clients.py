"""Both speaker clients against a real server; and the code in their docstrings, which the README repeats."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

import client.speaker.client
import client.speaker.sync
from client import (
    AsyncSpeakerClient,
    CallFailed,
    Cohort,
    Embedding,
    Enrolled,
    SpeakerClient,
    VoiceConfig,
    Voiceprint,
)
from tests.client.test_examples import example
from tests.server.speaker.support import cosine, float32, voice

RAW = VoiceConfig(encoding="float32", sample_rate=16000)
_NAMES = itertools.count()


def gallery() -> str:
    """A gallery of the test's own: the server is shared."""
    return f"gallery {next(_NAMES)}"


def test_the_sync_client_does_it_all(address: str, recordings: Path) -> None:
    name = gallery()
    with SpeakerClient(address, timeout_s=30) as speakers:
        [model] = speakers.models()
        assert (model.is_default, model.dimension) == (True, 32)
        ann = speakers.embed(recordings / "ann-1.wav")
        assert isinstance(ann, Embedding)
        assert (ann.vector.shape, ann.vector.dtype, ann.fingerprint) == ((32,), np.float32, model.fingerprint)
        assert (ann.quality.level, ann.audio_s) == ("fair", 2.0)
        bob = speakers.embed((recordings / "bob.flac").read_bytes())
        packets = [float32(voice(2.0, 2))[begin : begin + 999] for begin in range(0, 128_000, 999)]
        assert cosine(speakers.embed_stream(packets, RAW).vector, bob.vector) > 0.999

        answer = speakers.verify(ann, Voiceprint(bob.vector, bob.fingerprint), threshold=-1)
        assert answer.score == pytest.approx(cosine(ann.vector, bob.vector), abs=1e-5)
        assert (answer.is_same, answer.enrolment, answer.normalized) == (True, None, None)
        others = tuple(speakers.embed(float32(voice(2.0, seed)), RAW) for seed in (5, 6, 7))
        normalised = speakers.verify(ann, bob, cohort=Cohort(voiceprints=others))
        assert normalised.normalized is not None
        assert (normalised.is_same, normalised.threshold) == (None, None)

        enrolled = speakers.enroll(
            Enrolled("ann", name), [recordings / "ann-1.wav", ann], details={"room": "4"}, min_consistency=0.99
        )
        assert (enrolled.speaker.num_voices, enrolled.voices[1]) == (2, None)
        assert enrolled.consistency == pytest.approx(1, abs=1e-4)
        speakers.enroll(Enrolled("bob", name), [bob])
        found = speakers.identify(recordings / "ann-2.wav", gallery=name, count=1)
        assert [each.speaker_id for each in found.candidates] == ["ann"]
        assert found.num_speakers == 2
        assert [(each.speaker_id, dict(each.metadata)) for each in speakers.speakers(name)] == [
            ("ann", {"room": "4"}),
            ("bob", {}),
        ]
        assert speakers.delete(Enrolled("ann", name)) == 2
        with pytest.raises(CallFailed, match="NOT_FOUND speaker 'ann' is not enrolled"):
            speakers.delete(Enrolled("ann", name))
        with pytest.raises(FileNotFoundError):
            speakers.embed(recordings / "nobody.wav")


@pytest.mark.asyncio
async def test_the_asyncio_client_does_it_all(address: str, recordings: Path) -> None:
    name = gallery()
    async with AsyncSpeakerClient(address, timeout_s=30) as speakers:
        [model] = await speakers.models()
        ann, bob = await speakers.embed(recordings / "ann-1.wav"), await speakers.embed(recordings / "bob.flac")
        assert ann.fingerprint == model.fingerprint

        async def packets() -> AsyncIterator[bytes]:
            for begin in range(0, 128_000, 4001):
                yield float32(voice(2.0, 2))[begin : begin + 4001]

        assert cosine((await speakers.embed_stream(packets(), RAW)).vector, bob.vector) > 0.999
        scaled = await speakers.embed(recordings / "bob.flac", VoiceConfig(normalize=True, start_ms=500, end_ms=1500))
        assert np.linalg.norm(scaled.vector) == pytest.approx(1, abs=1e-5)
        assert scaled.audio_s == 1.0
        assert (await speakers.verify(ann, bob, threshold=-1)).is_same
        await speakers.enroll(Enrolled("ann", name), [ann])
        await speakers.enroll(Enrolled("bob", name), [recordings / "bob.flac"], replace=True)
        found = await speakers.identify(recordings / "ann-2.wav", gallery=name)
        assert found.candidates[0].speaker_id == "ann"
        assert [each.speaker_id async for each in speakers.speakers(name)] == ["ann", "bob"]
        assert await speakers.delete(Enrolled("bob", name)) == 1


class SourceBroke(Exception):
    """What a caller's own iterator raises."""


def test_a_broken_source_is_raised_as_it_is(address: str) -> None:
    def broken() -> Iterator[bytes]:
        yield float32(voice(1.0, 1))
        raise SourceBroke

    with SpeakerClient(address, timeout_s=30) as speakers, pytest.raises(SourceBroke):
        speakers.embed_stream(broken(), RAW)


@pytest.mark.asyncio
async def test_a_broken_source_is_raised_by_the_asyncio_client_too(address: str) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield float32(voice(1.0, 1))
        raise SourceBroke

    async with AsyncSpeakerClient(address, timeout_s=30) as speakers:
        with pytest.raises(SourceBroke):
            await speakers.embed_stream(broken(), RAW)
        with pytest.raises(CallFailed) as refused:
            await speakers.embed_stream([float32(voice(0.01, 1))], RAW)
        assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (client.speaker.client, r"\d\.\d\d (ann|somebody else)\n"),
        (client.speaker.sync, r"ann \d\.\d\d (accepted|too far)\n"),
    ],
)
def test_the_docstrings_code_runs_as_it_is_written(
    module: object,
    said: str,
    address: str,
    recordings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(recordings)
    exec(example(module.__doc__).replace("127.0.0.1:8001", address), {"__name__": "example"})
    assert re.fullmatch(said, capsys.readouterr().out)
