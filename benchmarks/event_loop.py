"""Event loop: CPU of the server's interpreter per 100 ms packet, beyond that of a bare grpc.aio echo handler.

    python -m benchmarks.event_loop [--rounds 3]

All servers run in a process of their own and are sent the same packets by the same client: 8 streams of 100 ms
packets, as fast as flow control lets them. The echo handler answers every packet; a second one only reads, which is the
harder yardstick, as Chorus answers about one packet in five. The server recognises with the embedded model, on the
engine's threads; only the main thread, on which the event loop runs, is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from typing import Any

import grpc
import psutil

from benchmarks.audio import recordings
from benchmarks.load_child import run_in_child
from client.load import LoadOptions
from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from server.config import load_config


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


def _serve_reader(pipe: Any) -> None:
    _serve(Reader(), pipe)


def _serve_echo(pipe: Any) -> None:
    _serve(Echo(), pipe)


def _serve(handler: rpc.RecognizerServicer, pipe: Any) -> None:
    async def run() -> None:
        server = grpc.aio.server()
        rpc.add_RecognizerServicer_to_server(handler, server)
        pipe.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


def _serve_chorus(pipe: Any) -> None:
    from server.app import start_server
    from server.log import configure_logging

    config = load_config(environment={}, overrides={"listen": {"port": 0}, "log": {"level": "error"}})
    configure_logging(config.log)

    async def run() -> None:
        async with start_server(config) as server:
            pipe.send(server.port)
            await asyncio.Event().wait()

    asyncio.run(run())


def cost(target: Any, audio: list[bytes], seconds: float) -> float:
    """Microseconds of the main and gRPC threads per packet."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=target, args=(theirs,), daemon=True)
    child.start()
    port = ours.recv()
    process = psutil.Process(child.pid)
    before = _loop_seconds(process)
    report = run_in_child(LoadOptions(f"127.0.0.1:{port}", 8, seconds, pace=0, method="CTC_GREEDY"), audio)
    used = _loop_seconds(process) - before
    child.terminate()
    child.join()
    return used / (report.audio_s / 0.1) * 1e6


def _loop_seconds(process: psutil.Process) -> float:
    """CPU seconds of the main thread, on which the event loop runs; gRPC's poller thread only waits."""
    main = next(thread for thread in process.threads() if thread.id == process.pid)
    return float(main.user_time + main.system_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    audio = recordings(10.0)
    servers = {"read only": _serve_reader, "echo": _serve_echo, "chorus": _serve_chorus}
    costs: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(arguments.rounds):
        for name, target in servers.items():
            costs[name].append(cost(target, audio, arguments.seconds))
            time.sleep(0.2)
    for name, row in costs.items():
        print(f"{name:9s}: {statistics.median(row):6.1f} us per packet ({min(row):.1f}-{max(row):.1f})")
    ours = statistics.median(costs.pop("chorus"))
    for name, row in costs.items():
        print(f"beyond the {name} handler: {ours - statistics.median(row):.1f} us per 100 ms packet")


if __name__ == "__main__":
    main()
