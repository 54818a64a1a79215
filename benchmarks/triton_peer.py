"""Speaker vectors by our server and by Triton, in turn: the same ONNX graph, front end, recording, machine and callers.

    /usr/bin/python3 -m venv TRITON        (Debian's Python 3.11.2 works; a 3.11 built elsewhere failed to load Triton)
    TRITON/bin/pip install nvidia-pytriton==0.7.0 'tritonclient[grpc]' onnxruntime msgspec numba scipy pyyaml soxr
    python -m benchmarks.triton_peer TRITON/bin/python [--models campplus] [--rounds 3] [--round-seconds 10]
    python -m benchmarks.triton_peer TRITON/bin/python --instances 1 --threads 2      (a Triton nobody tuned)

Triton runs the graph in its Python backend with dynamic batching and our own front end: as many instances as there are
cores, one thread inside a graph, which suits processors best; our server runs with its defaults. Both get float32
samples over gRPC from the same callers, which send messages made before and do not read the answers' numbers, so that
their own work hardly counts. Servers take turns; one that waits is stopped (SIGSTOP), so that it costs nothing. First
both answers are compared. If Triton does not start for a timeout of its own (1 s), the machine is busy: try again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import psutil

from benchmarks.audio import recordings
from benchmarks.server_process import server
from engines.pull.store import ensure
from protos import recognizer_pb2 as audio
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc as rpc
from server.models import usable_cores

RATE = 16000
EMBED = "/chorus.v1.Speaker/Embed"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
CONCURRENCY = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Peer:
    """One server, and what its callers send."""

    name: str
    address: str
    method: str
    request: bytes
    process: psutil.Process

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def stop(self) -> None:
        """Take it off the processors."""
        for process in self.processes():
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self.processes():
            process.send_signal(signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class Round:
    """Answers per second, and each one's milliseconds."""

    rate: float
    milliseconds: list[float]


async def load(peer: Peer, concurrency: int, seconds: float) -> Round:
    """So many callers, each with its next request as soon as the last is answered; one channel, as clients have."""
    found: list[float] = []
    async with grpc.aio.insecure_channel(peer.address) as channel:
        call = channel.unary_unary(peer.method)  # bytes in, bytes out
        await call(peer.request)
        begin = time.monotonic()

        async def caller() -> None:
            while (sent := time.monotonic()) < begin + seconds:
                answer = await call(peer.request)
                assert len(answer) > 100, "an answer holds a vector"
                found.append(1000 * (time.monotonic() - sent))

        await asyncio.gather(*(caller() for _ in range(concurrency)))
        return Round(len(found) / (time.monotonic() - begin), found)


@contextmanager
def triton(
    python: Path, folder: Path, samples: np.ndarray, port: int, settings: Sequence[int]
) -> Iterator[tuple[Peer, np.ndarray]]:
    """Triton in a child process, and the embedding it gave to tritonclient.

    `settings`: instances, threads inside a graph, largest batch.
    """
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / each for each in ("samples.npy", "request", "embedding.npy")]
        np.save(paths[0], samples)
        command = [str(python), "-m", "benchmarks.triton_child", str(folder), str(paths[0]), str(port)]
        command += [str(paths[1]), str(paths[2]), *map(str, settings)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
        log = Path(name) / "log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            ) as child,
        ):
            try:
                assert child.stdout is not None
                if not any(line.strip() == "ready" for line in child.stdout):
                    raise SystemExit(f"Triton did not start:\n{log.read_text()[-3000:]}")
                request, embedding = paths[1].read_bytes(), np.load(paths[2])
                peer = Peer("Triton", f"127.0.0.1:{port}", MODEL_INFER, request, psutil.Process(child.pid))
                yield peer, embedding
                peer.go_on()
            finally:
                assert child.stdin is not None
                child.stdin.close()
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()


def our_answer(address: str, request: pb.EmbedRequest) -> np.ndarray:
    """The vector of one request."""
    with grpc.insecure_channel(address) as channel:
        stub = rpc.SpeakerStub(channel)  # type: ignore[no-untyped-call]
        return np.array(stub.Embed(request).embedding, np.float32)


def compare(peers: list[Peer], rounds: int, seconds: float) -> None:
    """Print every concurrency's numbers and ratios."""
    for concurrency in CONCURRENCY:
        found: dict[str, list[Round]] = {peer.name: [] for peer in peers}
        for number in range(rounds):
            for peer in peers[:: 1 if number % 2 else -1]:
                for other in peers:
                    (other.go_on if other is peer else other.stop)()
                found[peer.name].append(asyncio.run(load(peer, concurrency, seconds)))
        for name, each in found.items():
            times = [value for one in each for value in one.milliseconds]
            p50, p95, p99 = np.percentile(times, [50, 95, 99])
            rates = [one.rate for one in each]
            print(
                f"{concurrency:3d} at once, {name:6s}: {statistics.median(rates):6.1f} a second "
                f"({min(rates):.1f}-{max(rates):.1f}); p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms",
                flush=True,
            )
        ours, theirs = (found[peer.name] for peer in peers)
        ratios = [one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]
        print(f"{concurrency:3d} at once: throughput {statistics.median(ratios):.2f} times Triton's", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path, help="Triton's interpreter; see the top of this file")
    parser.add_argument("--models", default="campplus", help="a name, or the folder of one speaker model")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the recording")
    parser.add_argument("--round-seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18001, help="Triton takes this one and the next two")
    parser.add_argument("--instances", type=int, default=usable_cores(), help="of Triton's model")
    parser.add_argument("--threads", type=int, default=1, help="of Triton's graph")
    parser.add_argument("--max-batch", type=int, default=8, help="of Triton's model")
    arguments = parser.parse_args()
    folder = ensure(arguments.models, print)
    samples = np.frombuffer(recordings(arguments.seconds)[0], "<i2").astype(np.float32) / 32768
    config = pb.SpeakerAudioConfig(encoding=audio.FLOAT32, sample_rate_hertz=RATE)
    request = pb.EmbedRequest(config=config, audio=samples.astype("<f4").tobytes())
    settings = arguments.instances, arguments.threads, arguments.max_batch
    with (
        server(folder, "--gallery", "") as running,
        triton(arguments.python, folder, samples, arguments.port, settings) as (peer, theirs),
    ):
        ours = our_answer(running.address, request)
        cosine = float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs))
        print(f"{folder.name}, {arguments.seconds:g} s of float32; cosine of the two servers' vectors {cosine:.6f}")
        if cosine < 0.9999:
            raise SystemExit("the servers do not compute the same thing")
        chorus = Peer("Chorus", running.address, EMBED, request.SerializeToString(), running.process)
        compare([chorus, peer], arguments.rounds, arguments.round_seconds)


if __name__ == "__main__":
    main()
