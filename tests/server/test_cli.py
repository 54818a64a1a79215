"""`chorus serve` and `chorus models check` as a user types them: one ready line, clear errors, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from tests.server.support import TINY, linear16, speech_like


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "server", *arguments]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False
    )


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address."""
    everything = command("serve", "--port", "0", "--models", str(TINY), *arguments)
    with subprocess.Popen(everything, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("chorus ready on 127.0.0.1:")
            assert ready.endswith(" (models: w2)\n")
            yield process, ready.split()[3]
        finally:
            process.kill()


ON_BOTH_LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


@ON_BOTH_LOOPS
def test_serve_prints_one_line_when_ready_and_ends_on_sigterm(loop: str) -> None:
    with serving("--event-loop", loop) as (process, address):
        with grpc.insecure_channel(address) as channel:
            models = rpc.RecognizerStub(channel).ListModels(pb.ListModelsRequest(), timeout=10).models
            assert [model.name for model in models] == ["w2"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""


@ON_BOTH_LOOPS
def test_a_second_signal_exits_at_once(loop: str) -> None:
    """The call is known to be under way before the first signal, and is only left behind afterwards: what is asked is
    when the server ends, and grpc's client has been seen to wait for ever for the end of such a call.
    """
    over = threading.Event()
    config = pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000)
    first = pb.StreamingRecognitionConfig(config=config, interim_results=True)

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        yield pb.StreamingRecognizeRequest(streaming_config=first)
        yield pb.StreamingRecognizeRequest(audio_content=linear16(speech_like(4.0, seed=1)))
        over.wait(60)

    with serving("--event-loop", loop) as (process, address), grpc.insecure_channel(address) as channel:
        call = rpc.RecognizerStub(channel).StreamingRecognize(requests())
        try:
            assert next(call) is not None
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            while "draining" not in process.stderr.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 128 + signal.SIGTERM
        finally:
            over.set()
            call.cancel()


def test_a_wrong_setting_is_one_line_that_names_its_path(tmp_path: Path) -> None:
    path = tmp_path / "chorus.toml"
    path.write_text("[streaming]\nmax_streems = 3\n")
    result = run("serve", "--config", str(path))
    assert result.returncode == 1
    assert "max_streems" in result.stderr
    assert "$.streaming" in result.stderr
    assert "Traceback" not in result.stderr
    result = run("serve", CHORUS_LISTEN__PORT="many")
    assert "environment" in result.stderr
    assert "$.listen.port" in result.stderr


def test_a_taken_port_and_a_missing_folder_are_one_line() -> None:
    with serving() as (_, address):
        result = run("serve", "--models", str(TINY), "--port", address.split(":")[1], "--log-level", "error")
        assert result.returncode == 1
        assert f"cannot listen on {address}" in result.stderr
        assert "Traceback" not in result.stderr
    result = run("serve", "--models", "/nowhere", "--port", "0")
    assert "/nowhere: no such folder" in result.stderr


def test_models_check_describes_a_good_folder_and_refuses_a_bad_one(tmp_path: Path) -> None:
    good = run("models", "check", str(TINY))
    assert good.returncode == 0
    assert "ready to serve" in good.stdout
    assert json.loads(run("models", "check", "--json", str(TINY)).stdout)["name"] == "w2"
    (tmp_path / "encoder.onnx").write_bytes(b"not a graph")
    bad = run("models", "check", str(tmp_path))
    assert bad.returncode == 1
    assert "Traceback" not in bad.stderr
    assert "encoder.onnx" in bad.stdout + bad.stderr
