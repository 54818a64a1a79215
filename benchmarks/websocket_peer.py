"""Chorus against sherpa-onnx-online-websocket-server: the same model folder, the same cores, runs in turns.

    pip install -e .[peer]
    python -m recipes.transducer.random_models --preset medium --families k2 --output MODELS   # or a trained K2 folder
    python -m benchmarks.websocket_peer --models MODELS/k2 [--int8] [--cores 0,1] [--seconds 30] [--streams 2,4]

Both search greedily. Streams of 10 s are paced as microphones and always busy (benchmarks/peer_load.py). Without
--streams the largest number of streams whose final latency stays under 500 ms at p95 is found by doubling and
bisection, for both servers in turns, and then both are measured at both numbers, for longer. The peer's own
defaults hold unless given: 0.8 s of silence behind the end (Chorus hears 0.3 s), batches of 5, a look every 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from benchmarks.audio import recordings
from benchmarks.peer_load import Open, Seen, chorus, run, websocket
from benchmarks.server_process import pinned, server

PROGRAM = "sherpa-onnx-online-websocket-server"
ALLOWED_P95_MS = 500.0
RECORDING_S = 10.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """A running server: its process, and where its streams are opened (a gRPC address or a WebSocket port)."""

    name: str
    process: psutil.Process
    address: str | int

    def measure(self, streams: int, seconds: float, audio: Sequence[bytes]) -> bool:
        """Run one load, print what was seen, and return whether the latency is allowed."""
        before = self._cpu_s()
        seen = asyncio.run(self._load(streams, seconds, audio))
        cpu = (self._cpu_s() - before) / seen.audio_s if seen.audio_s else float("nan")
        p50, p95 = seen.percentile(50), seen.percentile(95)
        failed = f", {seen.failures} failed" if seen.failures else ""
        print(
            f"{self.name:12s} {streams:3d} streams: final p50 {p50:6.0f} p95 {p95:6.0f} ms ({len(seen.final_ms)})"
            f", {cpu:.4f} CPU s per s of audio, {seen.letters / max(seen.audio_s, 1):.1f} letters said per s{failed}",
            flush=True,
        )
        self._settle()
        return p95 < ALLOWED_P95_MS and not seen.failures

    async def _load(self, streams: int, seconds: float, audio: Sequence[bytes]) -> Seen:
        if isinstance(self.address, int):
            return await run(websocket(self.address), streams, seconds, audio)
        async with grpc.aio.insecure_channel(self.address) as channel:
            opened: Open = chorus(channel, "greedy_search")
            return await run(opened, streams, seconds, audio)

    def _cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def _settle(self) -> None:
        """Wait until the server has worked off what it was left with."""
        for _ in range(60):
            before = self._cpu_s()
            time.sleep(0.5)
            if self._cpu_s() - before < 0.1:
                return


class Bisection:
    """The largest number that is allowed: doubled until one is not, then halved in between."""

    def __init__(self, first: int, limit: int, precision: int = 1) -> None:
        self.low, self.high, self._limit, self._precision = 0, limit + 1, limit, precision
        self._next = first

    @property
    def next(self) -> int | None:
        """What to try next; None where `low` is the answer."""
        is_known = self.high - self.low <= (self._precision if self.low and self.high <= self._limit else 1)
        return None if is_known else self._next

    def tell(self, allowed: bool) -> None:
        """Say how the last one went."""
        if allowed:
            self.low = self._next
        else:
            self.high = self._next
        is_bounded = self.high <= self._limit
        self._next = (self.low + self.high) // 2 if is_bounded else min(2 * self._next, self._limit)


def compare(contestants: Sequence[Contestant], arguments: argparse.Namespace, audio: Sequence[bytes]) -> None:
    """Find both numbers in turns, then measure both at the peer's."""
    searches = {each.name: Bisection(arguments.first, arguments.limit, arguments.precision) for each in contestants}
    while any(search.next for search in searches.values()):
        for each in contestants:
            search = searches[each.name]
            if search.next:
                search.tell(each.measure(search.next, arguments.seconds, audio))
    ours, theirs = (searches[each.name].low for each in contestants)
    print(f"streams with p95 under {ALLOWED_P95_MS:.0f} ms: chorus {ours}, sherpa-onnx {theirs}", end="")
    print(f", {ours / theirs:.2f} times as many" if theirs else "")
    for streams in dict.fromkeys([theirs, ours]):
        for each in contestants:
            if streams and arguments.final_seconds:
                each.measure(streams, arguments.final_seconds, audio)


@contextmanager
def peer(folder: Path, flags: Sequence[str]) -> Iterator[Contestant]:
    """Start the peer on a free port; its log goes with its temporary folder."""
    program = shutil.which(PROGRAM, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit(f"{PROGRAM} is not installed: pip install -e .[peer]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    files = {kind: next(folder.glob(f"{kind}*.onnx")) for kind in ("encoder", "decoder", "joiner")}
    options = {"port": port, "tokens": folder / "tokens.txt", "num-work-threads": 2, "num-threads": 1, **files}
    with tempfile.TemporaryDirectory() as place:
        command = [program, *(f"--{key}={value}" for key, value in options.items()), *flags]
        with subprocess.Popen(
            [*command, f"--log-file={place}/log.txt"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            try:
                _wait_for(port, child)
                yield Contestant("sherpa-onnx", psutil.Process(child.pid), port)
            finally:
                child.terminate()


def _wait_for(port: int, child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise SystemExit(f"{PROGRAM} ended at its start with status {child.returncode}")


@contextmanager
def chosen(folder: Path, *, int8: bool) -> Iterator[Path]:
    """Return the folder, or one with its encoder and joiner quantised dynamically, as icefall's exporter does."""
    if not int8:
        yield folder
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as place:
        for path in folder.iterdir():
            target = Path(place) / path.name
            if path.name.startswith(("encoder", "joiner")):
                quantize_dynamic(path, target, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
            else:
                shutil.copy(path, target)
        yield Path(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True, help="a K2 folder")
    parser.add_argument("--int8", action="store_true", help="quantise encoder and joiner first")
    parser.add_argument("--cores", default="0,1", help="of both servers")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run")
    parser.add_argument("--streams", help="only measure these numbers, by commas")
    parser.add_argument("--first", type=int, default=4, help="streams to begin with")
    parser.add_argument("--precision", type=int, default=1, help="streams that bisection may leave open")
    parser.add_argument("--final-seconds", type=float, default=60.0, help="of the last runs; 0 leaves them out")
    parser.add_argument("--limit", type=int, default=128, help="streams to end with")
    parser.add_argument("--peer-flag", action="append", default=[], help="for the peer, such as --num-work-threads=3")
    parser.add_argument("--chorus-flag", action="append", default=[], help="for chorus serve, such as --threads=1")
    arguments = parser.parse_args()
    cores, audio = set(map(int, arguments.cores.split(","))), recordings(RECORDING_S)
    with chosen(arguments.models, int8=arguments.int8) as folder, pinned(cores):
        started = server(folder, *arguments.chorus_flag), peer(folder, arguments.peer_flag)
        with started[0] as running, started[1] as other:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
            both = (Contestant("chorus", running.process, running.address), other)
            if arguments.streams is None:
                compare(both, arguments, audio)
                return
            for streams in map(int, arguments.streams.split(",")):
                for each in both:
                    each.measure(streams, arguments.seconds, audio)


if __name__ == "__main__":
    main()
