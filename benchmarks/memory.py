"""Memory: bytes per idle and per active stream, and whether it stays flat over opened, used and cancelled streams.

python -m benchmarks.memory [--models DIR] [--streams 200] [--churn 10000]
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import grpc

from benchmarks.audio import recordings
from benchmarks.server_process import RunningServer, server
from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc

CONFIG = pb.StreamingRecognizeRequest(
    streaming_config=pb.StreamingRecognitionConfig(
        config=pb.RecognitionConfig(encoding=pb.LINEAR16, sample_rate_hertz=16000), interim_results=True
    )
)


async def measure(running: RunningServer, num_streams: int, churn: int, audio: bytes) -> None:
    async with grpc.aio.insecure_channel(running.address) as channel:
        stub = rpc.RecognizerStub(channel)
        await _churn(stub, 500, audio)
        base = running.memory()
        calls = [stub.StreamingRecognize() for _ in range(num_streams)]
        for call in calls:
            await call.write(CONFIG)
        await asyncio.sleep(2)
        idle = running.memory()
        await asyncio.gather(*(_use(call, audio) for call in calls))
        active = running.memory()
        for call in calls:
            call.cancel()
        await asyncio.sleep(1)
        print(f"per idle stream:   {(idle - base) / num_streams / 1024:.1f} KiB")
        print(f"per active stream: {(active - base) / num_streams / 1024:.1f} KiB")
        for done in range(0, churn, churn // 5):
            print(f"after {done:6d} streams: {running.memory() / 2**20:.1f} MiB")
            await _churn(stub, churn // 5, audio)
        print(f"after {churn:6d} streams: {running.memory() / 2**20:.1f} MiB")


async def _use(call: rpc.RecognizerAsyncStub, audio: bytes) -> None:
    await call.write(pb.StreamingRecognizeRequest(audio_content=audio))
    await call.read()


async def _churn(stub: rpc.RecognizerAsyncStub, count: int, audio: bytes) -> None:
    async def one(number: int) -> None:
        call = stub.StreamingRecognize()
        await call.write(CONFIG)
        await call.write(pb.StreamingRecognizeRequest(audio_content=audio[:32000]))
        if number % 2:
            call.cancel()
            return
        await call.done_writing()
        async for _ in call:
            pass

    for begin in range(0, count, 16):
        await asyncio.gather(*(one(number) for number in range(begin, min(begin + 16, count))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--churn", type=int, default=10_000)
    arguments = parser.parse_args()
    with server(arguments.models) as running:
        asyncio.run(measure(running, arguments.streams, arguments.churn, recordings(4.0, 1)[0]))


if __name__ == "__main__":
    main()
