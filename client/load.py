"""Many streams at once against one server, and what their clients see: capacity and latency on the audio's clock."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import numpy as np

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc

RATE = 16000


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """One load: `streams` streams over `connections` channels, each repeating recordings until `seconds` have passed.

    `pace` 1 sends packets as a microphone would; 0 sends as fast as it can. `packet_ms` of audio per message. Paced
    streams begin spread over a second. With `ramp_s` they begin spread over so long, the length of a recording at best,
    so that their ends are spread too, and only what is seen with all of them running counts as latency.
    """

    address: str
    streams: int
    seconds: float
    packet_ms: int = 100
    pace: float = 1.0
    method: str = "DECODING_METHOD_UNSPECIFIED"
    model: str = ""
    connections: int = 1
    ramp_s: float = 0.0


@dataclass(slots=True)
class LoadReport:
    """What the clients of one load saw. Latencies are in milliseconds, one entry per observation.

    `first_partial`: the first text after the stream's first sample was sent. `partial_lag`: a result's arrival after
    the last sample it heard was sent. `final`: the last final result after the last sample was sent. `ends` counts
    calls by status. `cpu_s` is what the clients themselves took of the processors.
    """

    audio_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    calls: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    first_partial: list[float] = field(default_factory=list)
    partial_lag: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        """Seconds of audio per second."""
        return self.audio_s / self.wall_s if self.wall_s else 0.0

    def percentiles(self) -> dict[str, dict[str, float]]:
        """p50, p95, p99 and the number of observations of every latency."""
        return {name: _percentiles(getattr(self, name)) for name in ("first_partial", "partial_lag", "final")}

    def as_dict(self) -> dict[str, Any]:
        """Everything but the single observations, for JSON."""
        facts = {key: value for key, value in asdict(self).items() if key in ("audio_s", "wall_s", "calls", "ends")}
        return {**facts, "throughput": self.throughput, **self.percentiles()}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return {"count": len(values), "p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1)}


async def run_load(options: LoadOptions, recordings: Sequence[bytes]) -> LoadReport:
    """Run one load with LINEAR16 recordings at 16 kHz. Failed calls are counted, not raised."""
    report = LoadReport()
    channels = [
        grpc.aio.insecure_channel(options.address, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(options.connections)
    ]
    begin, cpu = time.monotonic(), time.process_time()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(options.streams):
                stub: Any = rpc.RecognizerStub(channels[number % len(channels)])  # type: ignore[no-untyped-call]
                # Real callers do not begin in step.
                spread = (options.ramp_s or 1.0) if options.pace else 0.0
                start = begin + spread * number / options.streams
                group.create_task(_caller(stub, options, recordings, number, start, begin, report))
    finally:
        report.wall_s, report.cpu_s = time.monotonic() - begin, time.process_time() - cpu
        for channel in channels:
            await channel.close(None)
    return report


async def _caller(
    stub: Any,
    options: LoadOptions,
    recordings: Sequence[bytes],
    number: int,
    start: float,
    load_began: float,
    report: LoadReport,
) -> None:
    end = load_began + options.seconds
    counted = (load_began + options.ramp_s, end) if options.ramp_s else (0.0, math.inf)
    await asyncio.sleep(max(0.0, start - time.monotonic()))
    while time.monotonic() < end:
        await _Call(stub, options, recordings[number % len(recordings)], report, counted).run()
        number += options.streams


class _Call:
    """One streaming call and its clock."""

    def __init__(
        self, stub: Any, options: LoadOptions, audio: bytes, report: LoadReport, counted: tuple[float, float]
    ) -> None:
        self._options = options
        self._audio = audio
        self._report = report
        self._counted = counted  # from when to when observations count
        self._call = stub.StreamingRecognize()
        self._began = self._sent = 0.0
        self._has_text = False
        self._last_final = 0.0

    async def run(self) -> None:
        self._began = time.monotonic()
        config = pb.RecognitionConfig(
            encoding=pb.LINEAR16,
            sample_rate_hertz=RATE,
            model=self._options.model,
            decoding=pb.DecodingConfig(method=self._options.method),
        )
        first = pb.StreamingRecognitionConfig(config=config, interim_results=True)
        receiving = asyncio.create_task(self._receive())
        try:
            await self._call.write(pb.StreamingRecognizeRequest(streaming_config=first))
            await self._send()
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the status is read below
        await receiving
        self._count(await self._call.code())

    async def _send(self) -> None:
        size = RATE * 2 * self._options.packet_ms // 1000
        pace = self._options.pace
        for begin in range(0, len(self._audio), size):
            packet = self._audio[begin : begin + size]
            if pace:  # a packet exists once its last sample was spoken
                due = self._began + (begin + len(packet)) / (2 * RATE) / pace
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._call.write(pb.StreamingRecognizeRequest(audio_content=packet))
        self._sent = time.monotonic()

    async def _receive(self) -> None:
        try:
            async for response in self._call:
                for result in response.results:
                    self._observe(result, time.monotonic())
        except grpc.aio.AioRpcError:
            pass

    def _observe(self, result: pb.StreamingRecognitionResult, now: float) -> None:
        if self._counts(now) and self._options.pace == 1 and not (result.is_final and self._sent):
            self._report.partial_lag.append((now - self._began - result.audio_processed) * 1000)
        if not self._has_text:
            self._has_text = True
            if self._counts(now):
                self._report.first_partial.append((now - self._began) * 1000)
        if result.is_final:
            self._last_final = now

    def _counts(self, now: float) -> bool:
        return self._counted[0] <= now <= self._counted[1]

    def _count(self, code: grpc.StatusCode) -> None:
        report = self._report
        report.calls += 1
        report.ends[code.name] = report.ends.get(code.name, 0) + 1
        if code is grpc.StatusCode.OK:
            report.audio_s += len(self._audio) / (2 * RATE)
            if self._last_final and self._sent and self._counts(self._last_final):
                report.final.append(max(0.0, self._last_final - self._sent) * 1000)
