"""A server of our own for the time of one command: a child process, reached by the wire like any other server."""

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, NoReturn, Self

from client.errors import ServerFailed

READY = re.compile(r"^chorus ready on (\S+:\d+)")
# Loading and warming up the embedded model takes about two seconds; a large one on a busy machine takes its time.
READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
_STDERR_TAIL = 4000


class EmbeddedServer:
    """Starts `python -m server serve --port 0` on entering, and on leaving ends it for certain.

    `arguments` are further flags of `chorus serve`. `address` is where it listens. The child has a session of its own,
    so that Ctrl-C reaches only us, and we end it.
    While it runs, SIGTERM ends this process by SystemExit (where it would have been killed), for the same reason.
    Raises ServerFailed with what the child said when it ends before it is ready, or is not ready in `timeout_s`.
    """

    def __init__(
        self,
        models: str | Path | None = None,
        *,
        arguments: Sequence[str] = (),
        command: Sequence[str] | None = None,
        timeout_s: float = READY_TIMEOUT_S,
    ) -> None:
        own = [sys.executable, "-m", "server", "serve", "--host", "127.0.0.1", "--port", "0"]
        self._command = [*(command or own), *(["--models", str(models)] if models else []), *arguments]
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[str] | None = None
        self._old_handler: Any = None
        self.address = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self._take_sigterm()
        try:
            self._start()
            self.address = self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child: politely first, for certain after `STOP_TIMEOUT_S`."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except BaseException:
                # Not only TimeoutExpired: a second Ctrl-C while we wait must not leave the child behind either.
                process.kill()
                process.wait()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
            self._old_handler = None

    def _start(self) -> None:
        # A file, not a pipe: nobody need read it, and it never fills up.
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                start_new_session=True,
                # Settings meant for a server that listens elsewhere are not for this one.
                env={name: value for name, value in os.environ.items() if not name.startswith("CHORUS_LISTEN__")},
            )
        except OSError as error:
            raise ServerFailed(f"the embedded server cannot be started: {error}") from error

    def _wait_until_ready(self) -> str:
        process = self._process
        assert process is not None, "the child is started before anyone waits for it"
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self._fail(f"the embedded server was not ready within {self._timeout_s:g} s")
            if line is None:
                self._fail(f"the embedded server ended before it was ready (status {process.wait()})")
            if match := READY.match(line):
                return match[1]

    def _fail(self, what: str) -> NoReturn:
        assert self._stderr is not None, "the child has its standard error from its start"
        self._stderr.seek(0)
        said = self._stderr.read()[-_STDERR_TAIL:].strip()
        raise ServerFailed(f"{what}; it said:\n{said}" if said else f"{what}, and said nothing")

    def _take_sigterm(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._old_handler = signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _read_lines(stdout: IO[str], lines: "queue.SimpleQueue[str | None]") -> None:
    """Pass on what the child prints, to its end, so that it never waits for a reader; then None."""
    with stdout:
        for line in stdout:
            lines.put(line)
    lines.put(None)
