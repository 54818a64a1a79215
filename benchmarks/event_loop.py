"""Event loop: CPU of the server's interpreter per 100 ms packet, beyond that of a bare grpc.aio echo handler.

    python -m benchmarks.event_loop [--rounds 5] [--seconds 8] [--loops uvloop asyncio] [--streams 32]
    python -m benchmarks.event_loop --streams 8 --pace 0      # as fast as flow control lets them

All servers run in a process of their own, in turns, on each event loop, and are sent the same packets by the same
client: streams of 100 ms packets, as microphones send them. The echo handler answers every packet; a second
one only reads, which is the harder yardstick, as Chorus answers about one packet in five. Each is compared with Chorus
on the same loop, and in the same round. The server recognises with the embedded model, on the engine's threads; what
counts is the main thread, on which the event loop runs. What gRPC's own threads take is shown beside it.

Without pacing the handlers find their caches warm and many packets at each wake-up, while Chorus still waits for its
engine between them: the difference is then that of two loads as much as of two servers.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from benchmarks.audio import recordings
from benchmarks.load_child import run_in_child
from client.load import LoadOptions
from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server.config import load_config
from server.event_loop import Choice, run

PACKET_S = 0.1


class Reader(rpc.RecognizerServicer):
    """Reads every message and answers the end: what grpc.aio itself costs."""

    async def StreamingRecognize(self, request_iterator: Any, context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            pass
        await context.write(pb.StreamingRecognizeResponse())


class Echo(rpc.RecognizerServicer):
    """Answers every message with a result of usual size, made once."""

    async def StreamingRecognize(self, request_iterator: Any, context: Any) -> None:
        best = pb.SpeechRecognitionAlternative(transcript="as many words as a partial result has", confidence=0.9)
        answer = pb.StreamingRecognizeResponse(results=[pb.StreamingRecognitionResult(alternatives=[best])])
        while await context.read() is not grpc.aio.EOF:
            await context.write(answer)


def _serve_handler(handler: type[rpc.RecognizerServicer], loop: Choice, pipe: Any) -> None:
    async def serve() -> None:
        server = grpc.aio.server()
        rpc.add_RecognizerServicer_to_server(handler(), server)
        pipe.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    run(serve(), loop)


def _serve_chorus(loop: Choice, pipe: Any) -> None:
    from server.app import start_server
    from server.log import configure_logging

    config = load_config(environment={}, overrides={"listen": {"port": 0}, "log": {"level": "error"}})
    configure_logging(config.log)

    async def serve() -> None:
        async with start_server(config) as server:
            pipe.send(server.port)
            await asyncio.Event().wait()

    run(serve(), loop)


SERVERS: dict[str, Callable[[Choice, Any], None]] = {
    "read only": partial(_serve_handler, Reader),
    "echo": partial(_serve_handler, Echo),
    "chorus": _serve_chorus,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU per packet: of the thread the event loop runs on, and of the threads gRPC named its own."""

    loop: float
    grpc: float


def cost(
    serve: Callable[[Choice, Any], None], loop: Choice, audio: list[bytes], seconds: float, streams: int, pace: float
) -> Cost:
    """Start a server, load it, and return what each packet took of it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(loop, theirs), daemon=True)
    child.start()
    port, pid = ours.recv(), child.pid
    assert pid is not None, "a started process has a number"
    options = LoadOptions(f"127.0.0.1:{port}", streams, seconds, pace=pace, method="CTC_GREEDY")
    run_in_child(LoadOptions(options.address, streams, 0.5, pace=0, method="CTC_GREEDY"), audio)  # warms up
    before = _thread_seconds(pid)
    report = run_in_child(options, audio)
    used = {key: seconds - before.get(key, 0.0) for key, seconds in _thread_seconds(pid).items()}
    child.terminate()
    child.join()
    main_name = next(name for thread, name in used if thread == pid)
    packets = report.audio_s / PACKET_S
    theirs_s = sum(seconds for (_, name), seconds in used.items() if name != main_name)
    return Cost(used[pid, main_name] / packets * 1e6, theirs_s / packets * 1e6)


def _thread_seconds(pid: int) -> dict[tuple[int, str], float]:
    """CPU seconds of each thread by number and name, from the scheduler: /proc/PID/stat counts hundredths only.

    Threads of Python have the program's name; gRPC names its own.
    """
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        found[int(task.name), (task / "comm").read_text().strip()] = nanoseconds / 1e9
    return found


def _spread(row: Sequence[float]) -> str:
    return f"{statistics.median(row):6.1f} us ({min(row):.1f}-{max(row):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--loops", nargs="+", choices=["uvloop", "asyncio"], default=["uvloop", "asyncio"])
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--pace", type=float, default=1.0, help="1: packets as microphones send them; 0: unpaced")
    arguments = parser.parse_args()
    audio = recordings(10.0)
    rows: dict[tuple[Choice, str], list[Cost]] = {(loop, name): [] for loop in arguments.loops for name in SERVERS}
    for _ in range(arguments.rounds):
        for (loop, name), row in rows.items():
            row.append(cost(SERVERS[name], loop, audio, arguments.seconds, arguments.streams, arguments.pace))
    for (loop, name), row in rows.items():
        print(f"{loop:7s} {name:9s}: {_spread([each.loop for each in row])}, gRPC {_spread([e.grpc for e in row])}")
    for loop in arguments.loops:
        ours = rows[loop, "chorus"]
        for name in ("read only", "echo"):
            beyond = [our.loop - its.loop for our, its in zip(ours, rows[loop, name], strict=True)]
            print(f"{loop:7s} beyond the {name} handler: {_spread(beyond)} per {PACKET_S * 1000:.0f} ms packet")


if __name__ == "__main__":
    main()
