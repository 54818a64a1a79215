"""Event loop: CPU of the server's interpreter per 100 ms packet, beyond that of a bare grpc.aio echo handler.

    python -m benchmarks.event_loop [--rounds 3]

Both servers run in a process of their own and are sent the same packets by the same client: 8 streams of 100 ms
packets, as fast as flow control lets them. The server recognises with the embedded model, on the engine's threads;
only the main thread, on which the event loop runs, is counted.
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


class Echo(rpc.RecognizerServicer):
    """Reads every message and answers the end: what grpc.aio itself costs."""

    async def StreamingRecognize(self, request_iterator: Any, context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            pass
        await context.write(pb.StreamingRecognizeResponse())


def _serve_echo(pipe: Any) -> None:
    async def run() -> None:
        server = grpc.aio.server()
        rpc.add_RecognizerServicer_to_server(Echo(), server)
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
    echo, chorus = [], []
    for _ in range(arguments.rounds):
        echo.append(cost(_serve_echo, audio, arguments.seconds))
        chorus.append(cost(_serve_chorus, audio, arguments.seconds))
        time.sleep(0.2)
    bare, ours = statistics.median(echo), statistics.median(chorus)
    print(f"echo:   {bare:6.1f} us per packet ({min(echo):.1f}-{max(echo):.1f})")
    print(f"chorus: {ours:6.1f} us per packet ({min(chorus):.1f}-{max(chorus):.1f})")
    print(f"beyond the echo handler: {ours - bare:.1f} us per 100 ms packet")


if __name__ == "__main__":
    main()
