"""The diarization client and `chorus diarize` against a server that answers from a script; and the pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from client import AsyncDiarizationClient, CallFailed, DiarizationConfig
from client.errors import ClientError
from client.speaker.diarization import Progress, Turn
from client.speaker.diarize import diarize
from client.speaker.timeline import COLUMNS, Envelope, draw, read_envelope, shared_spans
from client.speaker.values import VoiceConfig
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc
from speech.rttm import read_rttm

SEGMENTS = [
    pb.DiarizationSegment(start_ms=100, end_ms=2500, speaker=0, confidence=0.75, is_overlap=True),
    pb.DiarizationSegment(start_ms=2000, end_ms=3000, speaker=1, confidence=0.5, is_overlap=True),
]
SPEAKERS = [
    pb.DiarizedSpeaker(speaker=0, seconds=2.4, num_segments=1),
    pb.DiarizedSpeaker(speaker=1, seconds=1.0, num_segments=1, speaker_id="ann lee", name_score=0.5, embedding=[1, 0]),
]
RESULT = pb.DiarizeResponse(
    segments=SEGMENTS, speakers=SPEAKERS, audio_seconds=4.0, speech_seconds=3.0, model="m", fingerprint="f"
)


class Scripted(speaker_pb2_grpc.SpeakerServicer):
    """Answers every recording alike, refuses what is no sound, and is away for the first `away` calls."""

    def __init__(self) -> None:
        self.configs: list[pb.DiarizeStreamConfig] = []
        self.received = b""
        self.away = 0

    def DiarizeStream(self, messages: Any, context: Any) -> Iterator[pb.DiarizeStreamResponse]:
        self.configs.append(next(messages).config)
        self.received = b"".join(message.audio_content for message in messages)
        if self.away:
            self.away -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "back soon")
        if self.received == b"no audio":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is no audio")
        stages = pb.DiarizationProgress
        for stage in (stages.LISTENING, stages.CLUSTERING):
            yield pb.DiarizeStreamResponse(progress=stages(stage=stage, audio_seconds=4.0, windows_total=3))
        yield pb.DiarizeStreamResponse(result=RESULT)


@pytest.fixture(scope="module")
def scripted() -> Iterator[tuple[str, Scripted]]:
    service, server = Scripted(), grpc.server(ThreadPoolExecutor(4))
    speaker_pb2_grpc.add_SpeakerServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", service
    server.stop(None).wait()


@pytest.fixture
def run(scripted: tuple[str, Scripted]) -> Callable[..., Result]:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(diarize, ["--server", scripted[0], *map(str, arguments)])

    return run


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "first.wav", tmp_path / "second.flac"]
    for path in paths:
        soundfile.write(path, np.sin(np.arange(64_000) / 20) * 0.3, 16000)
    return paths


def ask(address: str, audio: Any, **fields: Any) -> Any:
    async def call() -> Any:
        async with AsyncDiarizationClient(address) as client:
            return await client.diarize(audio, **fields)

    return asyncio.run(call())


def test_the_client_gives_turns_speakers_and_progress(scripted: tuple[str, Scripted]) -> None:
    seen: list[Progress] = []
    config = DiarizationConfig(preset="3d-speaker", speakers=2, overlap=False, gallery="team", merge_gap_ms=0)
    found = ask(scripted[0], b"12345", config=config, voice=VoiceConfig(channel=2), on_progress=seen.append)

    assert found.turns == (Turn(0.1, 2.5, "speaker0", 0.75, True), Turn(2.0, 3.0, "ann lee", 0.5, True))
    assert [(each.name, each.is_enrolled, each.num_turns) for each in found.speakers] == [
        ("speaker0", False, 1),
        ("ann lee", True, 1),
    ]
    assert found.speakers[1].vector.tolist() == [1, 0]
    assert (found.audio_s, found.speech_s, found.model, found.fingerprint) == (4.0, 3.0, "m", "f")
    assert [each.stage for each in seen] == ["listening", "clustering"]
    sent = scripted[1].configs[-1]
    assert scripted[1].received == b"12345"
    assert (sent.config.channel, sent.diarization.preset) == (2, pb.PRESET_3D_SPEAKER)
    assert (sent.diarization.num_speakers, sent.diarization.gallery) == (2, "team")
    assert sent.diarization.HasField("overlap")
    assert sent.diarization.HasField("merge_gap_ms")
    assert not sent.diarization.HasField("vad_threshold")


def test_a_server_that_comes_back_is_asked_again_unless_packets_are_spent(scripted: tuple[str, Scripted]) -> None:
    scripted[1].away = 1
    assert ask(scripted[0], b"123").audio_s == 4.0
    scripted[1].away = 1
    with pytest.raises(CallFailed, match="UNAVAILABLE back soon"):
        ask(scripted[0], iter([b"123"]))


def test_what_the_packets_raise_reaches_the_caller(scripted: tuple[str, Scripted]) -> None:
    def packets() -> Iterator[bytes]:
        yield b"1"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        ask(scripted[0], packets())
    with pytest.raises(FileNotFoundError):
        ask(scripted[0], "nowhere.wav")


def test_turns_are_printed_and_failures_do_not_stop_the_run(run: Callable[..., Result], files: list[Path]) -> None:
    broken = files[0].with_name("broken.wav")
    broken.write_text("no audio")
    result = run(files[0], broken, files[0].with_name("missing.wav"), files[1])

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "first\t0.100\t2.500\tspeaker0",
        "first\t2.000\t3.000\tann lee",
        "second\t0.100\t2.500\tspeaker0",
        "second\t2.000\t3.000\tann lee",
    ]
    assert "broken: INVALID_ARGUMENT this is no audio" in result.stderr
    assert "missing: NOT_FOUND no such file" in result.stderr


def test_rttm_holds_all_files_and_can_be_read(run: Callable[..., Result], files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.rttm"
    result = run(*files, "--rttm", out)

    assert (result.exit_code, result.stdout) == (0, "")
    turns = read_rttm(out.read_text())
    assert [(turn.file, turn.speaker) for turn in turns] == [
        ("first", "speaker0"),
        ("first", "ann_lee"),
        ("second", "speaker0"),
        ("second", "ann_lee"),
    ]


def test_json_has_all_there_is(run: Callable[..., Result], files: list[Path]) -> None:
    document = json.loads(run(files[0], "--json", "--speakers", "2").stdout)

    assert document["turns"][1] == {
        "begin_s": 2.0, "end_s": 3.0, "speaker": "ann lee", "confidence": 0.5, "overlaps": True,
    }  # fmt: skip
    assert [each["name_score"] for each in document["speakers"]] == [None, 0.5]


def test_thresholds_and_durations_reach_the_server(
    run: Callable[..., Result], files: list[Path], scripted: tuple[str, Scripted]
) -> None:
    wanted = {"vad_threshold": 0.25, "cluster_threshold": 0.5, "merge_threshold": 0.75, "name_threshold": -0.5}
    lengths = {"merge_gap_ms": 0, "min_duration_ms": 300}
    arguments = [part for name, value in wanted.items() for part in (f"--{name.replace('_', '-')}", value)]
    result = run(files[0], "--gap", 0, "--min-duration", 300, "--gallery", "team", *arguments)

    assert result.exit_code == 0, result.output
    sent = scripted[1].configs[-1].diarization
    assert {name: getattr(sent, name) for name in (*wanted, *lengths) if sent.HasField(name)} == {**wanted, **lengths}


def test_each_file_gets_its_picture(run: Callable[..., Result], files: list[Path], tmp_path: Path) -> None:
    result = run(*files, "--plot", tmp_path / "who.png")

    assert result.exit_code == 0, result.output
    for name in ("who-first.png", "who-second.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to diarize"),
        (["a", "--speakers", "2", "--min-speakers", "1"], "--speakers goes without"),
        (["a", "--name-threshold", "0.5"], "--name-threshold goes with --gallery"),
        (["-"], "standard input"),
    ],
)
def test_what_cannot_go_together_is_said(run: Callable[..., Result], arguments: list[str], message: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr


@given(st.lists(st.integers(0, 90_000), max_size=5))
def test_an_envelope_bounds_its_audio_whatever_the_blocks(sizes: list[int]) -> None:
    samples = np.random.default_rng(sum(sizes)).uniform(-1, 1, sum(sizes)).astype(np.float32)
    envelope, begin = Envelope(), 0
    for size in sizes:
        envelope.push(samples[begin : begin + size])
        begin += size
    times, low, high = envelope.columns(16000)

    assert len(times) == len(low) == len(high) <= 2 * COLUMNS
    assert envelope.num_samples == len(samples)
    if len(times) > 1:
        stretch = round((times[1] - times[0]) * 16000)
        whole = samples[: len(times) * stretch].reshape(-1, stretch)
        assert np.array_equal(low, whole.min(axis=1).astype(np.float64))
        assert np.array_equal(high, whole.max(axis=1).astype(np.float64))


def test_an_hour_makes_no_larger_a_picture_than_a_minute() -> None:
    envelope = Envelope()
    for _ in range(3600):
        envelope.push(np.zeros(16000, np.float32))

    assert len(envelope.columns(16000)[0]) <= 2 * COLUMNS


def test_shared_time_is_where_two_turns_run() -> None:
    turns = [Turn(0, 5, "a", 1, True), Turn(4, 9, "b", 1, True), Turn(4.5, 6, "c", 1, True), Turn(9, 10, "a", 1, False)]

    assert shared_spans(turns) == [(4, 6)]
    assert shared_spans(turns[:1]) == []


def test_a_picture_shows_each_speaker_in_a_row_and_colour(tmp_path: Path, files: list[Path]) -> None:
    from matplotlib.image import imread

    envelope, rate = read_envelope(files[0])
    turns = [Turn(0.5, 1.5, "ann", 1, False), Turn(2.0, 3.5, "ben", 1, False)]
    draw(tmp_path / "a.png", turns, ["ann", "ben"], envelope, rate, "a")
    draw(tmp_path / "empty.png", [], [], Envelope(), 16000)

    pixels = imread(tmp_path / "a.png")[..., :3].reshape(-1, 3)
    for colour in ((0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)):  # the first two of tab10
        assert (np.abs(pixels - np.array(colour) / 255).max(axis=1) < 0.01).sum() > 1000


def test_a_picture_in_no_known_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="xyz"):
        draw(tmp_path / "a.xyz", [], [], Envelope(), 16000)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ClientError, match=r"chorus\[plot\]"):
        draw(tmp_path / "a.png", [], [], Envelope(), 16000)
