"""The life of the child process: with a stand-in that prints what a server prints, and with the real server."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from client import Client
from client.embedded import EmbeddedServer
from client.errors import ServerFailed

MODELS = Path(__file__).parents[1] / "data" / "models" / "w2"


def child(script: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(script)]


READY = """
    import signal, sys
    print("loading", flush=True)
    print("chorus ready on 127.0.0.1:4242 (models: tiny)", flush=True)
    signal.pause()
"""


def has_ended(pid: int | None) -> bool:
    return pid is not None and not psutil.pid_exists(pid)


def test_the_address_is_read_from_the_ready_line_and_the_child_ends_with_the_block() -> None:
    with EmbeddedServer(command=child(READY)) as server:
        pid = server.pid
        assert server.address == "127.0.0.1:4242"
        assert pid is not None
        assert os.getsid(pid) != os.getsid(0), "Ctrl-C at the terminal must not reach the child"
    assert has_ended(pid)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_exception_in_the_block_ends_the_child_too() -> None:
    server = EmbeddedServer(command=child(READY))
    pids = []

    def interrupted() -> None:
        with server:
            pids.append(server.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert has_ended(pids[0])


def test_a_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.embedded.STOP_TIMEOUT_S", 0.2)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + textwrap.dedent(READY)
    with EmbeddedServer(command=[sys.executable, "-c", stubborn]) as server:
        pid = server.pid
    assert has_ended(pid)


def test_a_child_that_fails_is_quoted() -> None:
    failing = child("import sys; print('models/x: no encoder', file=sys.stderr); sys.exit(3)")
    with (
        pytest.raises(ServerFailed, match=r"status 3\); it said:\nmodels/x: no encoder"),
        EmbeddedServer(command=failing),
    ):
        pass


def test_a_child_that_is_never_ready_is_given_up() -> None:
    slow = EmbeddedServer(command=child("import signal; signal.pause()"), timeout_s=0.3)
    with pytest.raises(ServerFailed, match=r"not ready within 0.3 s, and said nothing"), slow:
        pass
    assert slow.pid is None


def test_a_command_that_does_not_exist_is_reported() -> None:
    with pytest.raises(ServerFailed, match="cannot be started"), EmbeddedServer(command=["/no/such/python"]):
        pass


def test_sigterm_to_the_parent_leaves_no_child() -> None:
    parent = """
        import signal, sys
        from client.embedded import EmbeddedServer
        with EmbeddedServer(command=[sys.executable, "-c", sys.argv[1]]) as server:
            print(server.pid, flush=True)
            signal.pause()
    """
    with subprocess.Popen([*child(parent), textwrap.dedent(READY)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    assert has_ended(pid)


def test_the_real_server_serves_and_ends() -> None:
    with EmbeddedServer(MODELS) as server:
        pid = server.pid
        with Client(server.address, timeout_s=30) as client:
            [model] = client.models()
            assert model.streaming
    assert has_ended(pid)


def test_ctrl_c_during_transcribe_leaves_no_server(tmp_path: Path) -> None:
    """A reader that never ends, and SIGINT to the command alone, as a terminal would not even do."""
    # A shell that runs the tests in the background has them ignore SIGINT, and so would the command.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heeding}; from client.transcribe import transcribe; transcribe()"]
    process = subprocess.Popen(
        [*command, "-", "--encoding", "linear16", "--rate", "16000", "--models", str(MODELS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        server = wait_for_connection(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert not server.is_running()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def wait_for_connection(process: subprocess.Popen[bytes]) -> psutil.Process:
    """Wait until the command's server has a client, and give the server."""
    parent = psutil.Process(process.pid)
    for _ in range(3000):
        assert process.poll() is None, process.communicate()
        for server in parent.children():
            if any(link.status == psutil.CONN_ESTABLISHED for link in server.net_connections("tcp")):
                return server
        try:
            parent.wait(0.01)
        except psutil.TimeoutExpired:
            continue
    raise AssertionError("the embedded server never got a client")
