"""The command as a user runs it, against a real gRPC server that echoes the bytes of a file as its text."""

import json
import re
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from client import transcribe as module
from client.embedded import EmbeddedServer
from client.speaker import options as speaker_options
from client.transcribe import transcribe
from protos import recognizer_pb2 as pb
from tests.client.support import FakeRecognizer

Run = Callable[..., Result]


@pytest.fixture
def run(address: str) -> Run:
    def run(*arguments: object, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(transcribe, ["--server", address, *map(str, arguments)], input=stdin)

    return run


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for name, text in (("one", "HELLO WORLD"), ("two", "GOOD MORNING"), ("three", "GOOD NIGHT")):
        paths.append(tmp_path / f"{name}.wav")
        paths[-1].write_text(text)
    return paths


@pytest.mark.parametrize("mode", [(), ("--offline",), ("--concurrency", 1)])
def test_each_file_gives_a_line_in_the_order_given(run: Run, files: list[Path], mode: tuple[object, ...]) -> None:
    result = run(*files, *mode)
    assert result.stdout == "one\tHELLO WORLD\ntwo\tGOOD MORNING\nthree\tGOOD NIGHT\n"
    assert result.stderr == ""
    assert result.exit_code == 0


def test_a_failing_file_is_reported_and_the_others_go_on(run: Run, files: list[Path], tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"NOISE")
    result = run(files[0], noise, tmp_path / "gone.wav", tmp_path, files[1])
    assert result.stdout == "one\tHELLO WORLD\ntwo\tGOOD MORNING\n"
    lines = result.stderr.splitlines()
    assert lines[0] == "noise: INVALID_ARGUMENT no container that is known"
    assert lines[1].startswith("gone: NOT_FOUND no such file:")
    assert "Is a directory" in lines[2]
    assert result.exit_code == 1


def test_an_unknown_model_is_reported_for_each_file(run: Run, files: list[Path]) -> None:
    result = run(*files[:2], "--model", "huge")
    assert result.stderr.splitlines() == [f"{name}: NOT_FOUND no model huge: there is tiny" for name in ("one", "two")]
    assert result.exit_code == 1


def test_standard_input_is_streamed(run: Run) -> None:
    assert run("-", stdin=b"FROM A PIPE").stdout == "stdin\tFROM A PIPE\n"
    assert run("-", "--offline", stdin=b"FROM A PIPE").stdout == "stdin\tFROM A PIPE\n"


def test_word_times_and_alternatives_follow_on_lines_that_begin_with_a_tab(run: Run, files: list[Path]) -> None:
    lines = run(files[0], "--word-times", "--n-best", 2).stdout.splitlines()
    assert lines == [
        "one\tHELLO WORLD",
        "\t0.00\t0.08\tHELLO\t0.75",
        "\t0.10\t0.18\tWORLD\t0.75",
        "\t#1\t-1.500\tHELLO WORLD",
    ]


def test_json_tells_everything(run: Run, files: list[Path], recognizer: FakeRecognizer) -> None:
    result = run(files[0], "--json")
    assert json.loads(result.stdout) == {
        "id": "one",
        "path": str(files[0]),
        "text": "HELLO WORLD",
        "hotwords": None,
        "audio_ms": 1000,
        "results": [
            {
                "channel": 0,
                "segment": 0,
                "start_ms": 40,
                "end_ms": 900,
                "alternatives": [
                    {
                        "text": "HELLO WORLD",
                        "score": -1.5,
                        "hotword_score": 0.0,
                        "lm_score": 0.0,
                        "confidence": 0.9,
                        "words": [
                            {"text": "HELLO", "start_ms": 0, "end_ms": 80, "confidence": 0.75, "speaker": 0},
                            {"text": "WORLD", "start_ms": 100, "end_ms": 180, "confidence": 0.75, "speaker": 0},
                        ],
                        "tokens": [],
                    }
                ],
            }
        ],
        "events": [
            {"channel": 0, "kind": "speech_start", "time_ms": 40, "rule": None},
            {"channel": 0, "kind": "end", "time_ms": 1000, "rule": None},
        ],
        "error": None,
    }
    assert recognizer.calls[0].configs[0].config.enable_word_time_offsets


def test_json_gives_an_object_for_a_failed_file_too(run: Run, tmp_path: Path) -> None:
    result = run(tmp_path / "gone.wav", "--json")
    found = json.loads(result.stdout)
    assert found["error"]["status"] == "NOT_FOUND"
    assert (found["text"], found["results"]) == ("", [])
    assert result.exit_code == 1


def test_channels_are_numbered(run: Run, files: list[Path]) -> None:
    raw = ("--encoding", "linear16", "--rate", 8000, "--channels", 2)
    assert run(files[0], *raw).stdout == "one[1]\tHELLO WORLD\none[2]\tHELLO WORLD\n"
    assert run(files[0], *raw, "--offline").stdout == "one[1]\tHELLO WORLD\none[2]\tHELLO WORLD\n"


@pytest.fixture
def scp(files: list[Path], tmp_path: Path) -> Path:
    path = tmp_path / "wav.scp"
    path.write_text(f"a {files[0]}\nb\t{files[1]}\n")
    return path


def test_a_list_with_references_ends_with_the_error_rate(run: Run, scp: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("b GOOD EVENING\na\tHELLO WORLD\nother NOT IN THE LIST\n")
    arguments = ("--wav-scp", scp, "--trans", tmp_path / "text")
    assert run(*arguments).stdout.splitlines() == [
        "a\tHELLO WORLD",
        "b\tGOOD MORNING",
        "WER 25.00 % [ 1 / 4, 1 sub, 0 del, 0 ins ]",
    ]
    assert run(*arguments, "--cer").stdout.splitlines()[-1].startswith("CER ")
    with_json = run(*arguments, "--json")
    assert len([json.loads(line) for line in with_json.stdout.splitlines()]) == 2
    assert with_json.stderr.startswith("WER 25.00 %")


def test_a_failed_recording_counts_as_deleted_in_the_error_rate(run: Run, tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "list").write_text(f"a {files[0]}\nb {tmp_path}/gone.wav\n")
    (tmp_path / "text").write_text("a HELLO WORLD\nb ONE TWO\n")
    result = run("--wav-scp", tmp_path / "list", "--trans", tmp_path / "text")
    assert result.stdout.splitlines()[-1] == (
        "WER 50.00 % [ 2 / 4, 0 sub, 2 del, 0 ins ]; 1 not transcribed, counted as deleted"
    )
    assert result.exit_code == 1


def test_a_pipe_in_a_list_is_refused_before_anything_runs(run: Run, tmp_path: Path, recognizer: FakeRecognizer) -> None:
    (tmp_path / "list").write_text("a touch /tmp/x |\n")
    result = run("--wav-scp", tmp_path / "list")
    assert result.exit_code == 1
    assert re.search(r"list:1: a is a command", result.stderr)
    assert not recognizer.calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to transcribe"),
        (["x.wav", "--mic"], "exclude each other"),
        (["x.wav", "--offline", "--real-time"], "--offline takes whole recordings"),
        (["x.wav", "--diarize"], "--diarize needs --offline"),
        (["x.wav", "--offline", "--speakers", "2"], "--speaker-model go with --diarize"),
        (
            ["x.wav", "--offline", "--diarize", "--speakers", "2", "--max-speakers", "3"],
            "--speakers goes without --min-speakers",
        ),
        (["x.wav", "--models", "m"], "not with --server"),
        (["x.wav", "--cer"], "go with --trans"),
        (["x.wav", "--encoding", "linear16"], "--rate is needed"),
        (["x.wav", "--tls-cert", "c.pem"], "No such file"),
        (["x.wav", "--metadata", "novalue"], "KEY=VALUE"),
        (["x.wav", "--method", "viterbi"], "ctc_prefix_beam"),
        (["-", "-"], "given once"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.stderr)


@pytest.fixture
def five(tmp_path: Path) -> Path:
    path = tmp_path / "five.wav"
    path.write_text("HOW ARE WELL THANKS HUM")
    return path


def test_diarized_text_is_cut_where_the_speaker_changes(run: Run, five: Path) -> None:
    result = run(five, "--offline", "--diarize")
    assert result.stdout == "five\tspeaker 1\tHOW ARE\nfive\tspeaker 2\tWELL THANKS\nfive\tnobody\tHUM\n"
    assert result.exit_code == 0

    lines = run(five, "--offline", "--diarize", "--word-times").stdout.splitlines()
    assert lines[3:] == [
        "\t0.00\t0.08\tHOW\t0.75\t1",
        "\t0.10\t0.18\tARE\t0.75\t1",
        "\t0.20\t0.28\tWELL\t0.75\t2",
        "\t0.30\t0.38\tTHANKS\t0.75\t2",
        "\t0.40\t0.48\tHUM\t0.75",
    ]


def test_diarized_json_has_the_words_speakers(run: Run, five: Path) -> None:
    document = json.loads(run(five, "--offline", "--diarize", "--json", "--channels", 2, "--rate", 8000).stdout)
    for result in document["results"]:
        assert [word["speaker"] for word in result["alternatives"][0]["words"]] == [1, 1, 2, 2, 0]


def test_what_is_known_of_the_speakers_reaches_the_server(run: Run, five: Path, recognizer: FakeRecognizer) -> None:
    run(five, "--offline", "--diarize", "--speakers", 3, "--speaker-model", "campplus")
    run(five, "--offline", "--diarize", "--min-speakers", 2, "--max-speakers", 4)
    run(five, "--offline")
    exact, between, plain = (config.diarization_config for config in recognizer.recognized)
    assert exact == pb.SpeakerDiarizationConfig(enable_speaker_diarization=True, speaker_count=3, model="campplus")
    assert between == pb.SpeakerDiarizationConfig(
        enable_speaker_diarization=True, min_speaker_count=2, max_speaker_count=4
    )
    assert plain == pb.SpeakerDiarizationConfig()


def test_diarization_here_serves_recogniser_and_speaker_models(
    monkeypatch: pytest.MonkeyPatch, five: Path, address: str
) -> None:
    asked: list[str] = []

    class Started(nullcontext[str]):
        def __init__(self, models: str, arguments: list[str]) -> None:
            asked.append(models)
            self.address = address
            super().__init__(self)  # type: ignore[arg-type]

    fetched: list[list[str]] = []
    monkeypatch.setattr(speaker_options, "EmbeddedServer", Started)
    monkeypatch.setattr(
        speaker_options.subprocess,
        "run",
        lambda command, **_: fetched.append(command[3:]) or SimpleNamespace(returncode=0),
    )
    result = CliRunner().invoke(transcribe, ["--offline", "--diarize", str(five)])
    assert result.stdout.startswith("five\tspeaker 1\tHOW ARE\n")
    assert asked == ["embedded,campplus,silero-vad,pyannote-segmentation"]
    assert fetched == [["models", "pull", "campplus", "silero-vad", "pyannote-segmentation"]]


def test_options_reach_the_server(run: Run, files: list[Path], recognizer: FakeRecognizer) -> None:
    run(
        files[0], "--model", "tiny", "--language", "en", "--method", "ctc_greedy", "--n-best", 3, "--single-utterance",
        "--endpoint-silence", 600, "--max-segment", 9000, "--metadata", "Tenant=a=b", "--timeout", 30,
    )  # fmt: skip
    [call] = recognizer.calls
    assert call.metadata["tenant"] == "a=b"
    assert call.time_left_s is not None
    assert call.time_left_s < 31
    [sent] = call.configs
    assert sent.single_utterance
    assert (sent.config.model, sent.config.language_code, sent.config.max_alternatives) == ("tiny", "en", 3)
    assert sent.config.decoding.method == pb.CTC_GREEDY
    rules = sent.config.endpointing_config
    assert (rules.rule2.min_trailing_silence_ms, rules.rule2.must_contain_text) == (600, True)
    assert rules.rule3.min_utterance_ms == 9000
    assert not rules.HasField("rule1")


def test_real_time_sends_decoded_audio_of_the_files_rate(run: Run, tmp_path: Path, recognizer: FakeRecognizer) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros((1600, 2), np.int16), 8000)
    # 0.2 s of zeros, that the echoing server takes for text.
    result = run(tmp_path / "a.flac", "--real-time")
    [call] = recognizer.calls
    assert (call.configs[0].config.sample_rate_hertz, call.configs[0].config.audio_channel_count) == (8000, 2)
    assert call.configs[0].config.encoding == pb.LINEAR16
    assert len(call.audio) == 6400
    assert result.exit_code == 0


def test_real_time_reports_what_is_no_audio(run: Run, files: list[Path]) -> None:
    result = run(files[0], "--real-time")
    assert result.stderr.startswith("one: INVALID_ARGUMENT ")
    assert result.exit_code == 1


def test_an_unreachable_server_is_reported(files: list[Path]) -> None:
    result = CliRunner().invoke(transcribe, ["--server", "127.0.0.1:1", str(files[0])])
    assert result.stderr.startswith("one: UNAVAILABLE")
    assert result.exit_code == 1


def test_an_embedded_server_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch, files: list[Path]) -> None:
    broken = [sys.executable, "-c", "import sys; sys.exit('no model here')"]
    monkeypatch.setattr(module, "EmbeddedServer", lambda models: EmbeddedServer(models, command=broken))
    result = CliRunner().invoke(transcribe, [str(files[0]), "--models", "nowhere"])
    assert result.exit_code == 1
    assert "no model here" in result.stderr


class FakeMicrophone:
    """Stands in for the module sounddevice: records three packets, then silence."""

    PortAudioError = RuntimeError

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def RawInputStream(self, **settings: Any) -> "FakeMicrophone":
        self.settings = settings
        return self

    def __enter__(self) -> "FakeMicrophone":
        for packet in (b"ONE ", b"TWO ", b"THREE"):
            self.settings["callback"](packet, 2, SimpleNamespace(), None)
        return self

    def __exit__(self, *error: object) -> None:
        pass


def test_the_microphone_is_recorded_until_ctrl_c(
    run: Run, monkeypatch: pytest.MonkeyPatch, recognizer: FakeRecognizer
) -> None:
    fake = FakeMicrophone()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)  # type: ignore[arg-type]
    original = module.Display.heard

    def heard(self: Any, recording: Any, result: Any) -> None:
        original(self, recording, result)
        if "THREE" in result.text:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(module.Display, "heard", heard)
    result = run("--mic", "--word-times")
    assert result.stdout.splitlines()[0] == "mic\tONE TWO THREE"
    assert result.exit_code == 0
    assert (fake.settings["samplerate"], fake.settings["channels"], fake.settings["dtype"]) == (16000, 1, "int16")
    assert recognizer.calls[0].audio == b"ONE TWO THREE"


def test_a_missing_microphone_library_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = run("--mic")
    assert result.exit_code == 1
    assert "pip install 'chorus[mic]'" in result.stderr


def test_a_machine_without_a_device_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf:
        PortAudioError = RuntimeError

        def RawInputStream(self, **settings: Any) -> None:
            raise RuntimeError("Error querying device -1")

    monkeypatch.setitem(sys.modules, "sounddevice", Deaf())  # type: ignore[arg-type]
    result = run("--mic")
    assert result.exit_code == 1
    assert "no microphone could be opened: Error querying device -1" in result.stderr


def test_tls_needs_a_server(files: list[Path]) -> None:
    result = CliRunner().invoke(transcribe, [str(files[0]), "--tls"])
    assert result.exit_code == 2
    assert "need --server" in result.stderr


def test_a_failing_call_in_the_middle_keeps_no_text(run: Run, files: list[Path], recognizer: FakeRecognizer) -> None:
    def fail(call: Any, requests: Any, context: grpc.ServicerContext) -> Any:
        from tests.client.support import result

        next(requests)
        next(requests)
        yield result("HALF", is_final=True)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot")

    recognizer.turns = [fail]
    found = run(files[0])
    assert found.stdout == ""
    assert found.stderr == "one: RESOURCE_EXHAUSTED no slot\n"


def test_hotwords_of_a_file_go_with_every_recording(
    run: Run, recognizer: FakeRecognizer, files: list[Path], tmp_path: Path
) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("# friends\nharbour master\nCaleb :4\n")
    result = run(*files[:2], "--hotwords", phrases, "--boost", 2.5, "--hotword-list", "pets", "--lm-weight", 0)
    assert result.exit_code == 0
    for call in recognizer.calls:
        (config,) = call.configs
        hotwords = config.config.hotwords
        assert [(each.phrase, each.boost) for each in hotwords.hotwords] == [("harbour master", 0.0), ("Caleb", 4.0)]
        assert (hotwords.boost, list(hotwords.lists)) == (2.5, ["pets"])
        assert config.config.language_model.disabled


def test_hotwords_that_cannot_be_written_are_told_once(run: Run, recognizer: FakeRecognizer, files: list[Path]) -> None:
    def turn(call: Any, requests: Any, context: Any) -> Any:
        report = pb.HotwordsReport(num_hotwords=1, num_unspellable=3, unspellable=["\u5929", "\u5730"])
        yield pb.StreamingRecognizeResponse(hotwords=report)
        for _ in requests:
            pass

    recognizer.turns = [turn, turn]
    result = run(*files[:2], "--hotword-list", "pets")
    assert result.stderr == "3 hotwords cannot be written by the model: \u5929, \u5730, ...\n"
    assert result.exit_code == 0


def test_bad_lists_of_hotwords_are_refused_before_a_server_is_asked(
    run: Run, files: list[Path], tmp_path: Path
) -> None:
    wrong, huge = tmp_path / "wrong.txt", tmp_path / "huge.txt"
    wrong.write_text("fine\nCaleb :x\n\nfoo :500\n")
    with huge.open("wb") as file:
        file.truncate(100 << 20)
    assert "line 4: the boost is 500; allowed" in run(files[0], "--hotwords", wrong).stderr
    assert f"{100 << 20} bytes; at most {8 << 20} are allowed" in run(files[0], "--hotwords", huge).stderr
    assert "No such file" in run(files[0], "--hotwords", tmp_path / "none").stderr
    assert "--boost goes with" in run(files[0], "--boost", 2).stderr
