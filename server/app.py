"""Builds everything in order, runs it, and takes it down in the reverse order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from types import FrameType
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from protos import recognizer_pb2 as pb
from protos import recognizer_pb2_grpc as rpc
from protos import speaker_pb2, speaker_pb2_grpc
from server.calls import Calls
from server.config import Config
from server.errors import StartFailed
from server.gallery.gallery import Gallery
from server.gate import Gate, LateHandlers
from server.hotwords import Hotwords
from server.housekeeping import watch_integrity, watch_loop_lag
from server.loading import load_served
from server.metrics import Metrics
from server.models import Models, ServedModel, usable_cores
from server.offline import OfflineRecognizer
from server.places import Places
from server.servicer import RecognizerServicer
from server.speaker.models import ServedSpeaker, SpeakerModels
from server.speaker.servicer import SpeakerServicer
from server.speaker.tagging import SpeakerTagger
from server.tls import credentials

RECOGNIZER = pb.DESCRIPTOR.services_by_name["Recognizer"].full_name
SPEAKER = speaker_pb2.DESCRIPTOR.services_by_name["Speaker"].full_name
# Pings of idle clients are welcome every 10 s: streams may be silent for long, and gRPC's default bans such clients.
CHANNEL_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
)

# After the last call: for its last bytes to leave, and for what never ends by itself (those who watch the health).
FLUSH_S = 1.0

log = structlog.get_logger()


class Server:
    """A running server. Made by `start_server`, which also takes it down."""

    def __init__(
        self, config: Config, port: int, health: Any, models: Models, speakers: SpeakerModels, metrics: Metrics
    ) -> None:
        self.config = config
        self.port = port
        self.health = health
        self.models = models
        self.speakers = speakers
        self.metrics = metrics

    async def set_serving(self, serving: bool) -> None:
        """Tell health checks, for the server as a whole and per service; a service without models does not serve."""
        able = {"": True, RECOGNIZER: bool(list(self.models)), SPEAKER: bool(list(self.speakers))}
        for service, is_able in able.items():
            await _tell(self.health, service, serving and is_able)

    @property
    def address(self) -> str:
        return _joined(self.config.listen.host, self.port)

    def check_integrity(self) -> None:
        """Prove that no slot is lost. Raises AssertionError; cheap enough for tests and idle moments."""
        for model in self.models:
            model.lanes.check_integrity()


@asynccontextmanager
async def start_server(config: Config) -> AsyncIterator[Server]:
    """Load the models, serve, and on leaving: refuse new calls, let running ones end, drain, stop threads.

    The port is open while models load, for health checks; other calls are refused until then. Calls that outlive the
    grace period end with UNAVAILABLE. Raises StartFailed or BadModel when the server cannot start.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        gate, handlers = Gate(), LateHandlers()
        checks: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
        wire, port = await _open(stack, config, gate, handlers, checks)
        engines = stack.enter_context(ExitStack())
        models, speakers = await loop.run_in_executor(None, load_served, config, engines)
        metrics = Metrics()
        metrics.watch(models, speakers)
        server = Server(config, port, checks, models, speakers, metrics)
        # One group for all that runs as long as the server: a bug in one ends it loudly instead of hanging its callers.
        group = await stack.enter_async_context(asyncio.TaskGroup())
        _start_batchers(stack, group, [*models, *speakers])
        recognizer, speaker = _services(stack, config, models, speakers, Calls(metrics, gate))
        rpc.add_RecognizerServicer_to_server(recognizer, handlers)  # type: ignore[no-untyped-call]
        speaker_pb2_grpc.add_SpeakerServicer_to_server(speaker, handlers)  # type: ignore[no-untyped-call]
        _start_housekeeping(stack, group, models, metrics)
        await _start_metrics(stack, config, metrics)
        stack.push_async_callback(_stop_grpc, server, gate, wire)
        gate.open()
        await server.set_serving(True)
        yield server


def _start_batchers(
    stack: AsyncExitStack, group: asyncio.TaskGroup, models: Iterable[ServedModel | ServedSpeaker]
) -> None:
    for model in models:
        for name, batcher in model.batchers():
            group.create_task(batcher.serve(), name=f"{model.name}-{name}")

            async def stop(batcher: object = batcher) -> None:
                await batcher.drain()  # type: ignore[attr-defined]
                batcher.close()  # type: ignore[attr-defined]

            stack.push_async_callback(stop)


def _services(
    stack: AsyncExitStack, config: Config, models: Models, speakers: SpeakerModels, calls: Calls
) -> tuple[RecognizerServicer, SpeakerServicer]:
    decoding = stack.enter_context(ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode"))
    # Their own threads: a long clustering must not keep other calls from decoding.
    diarizing = stack.enter_context(ThreadPoolExecutor(usable_cores(), thread_name_prefix="diarize"))
    limit = config.streaming.max_container_streams
    containers = stack.enter_context(ThreadPoolExecutor(limit, thread_name_prefix="container"))
    places = Places(limit, "container streams", "streaming.max_container_streams")
    gallery = Gallery(config.speaker.gallery)
    stack.callback(gallery.close)
    idle_timeout_s = config.streaming.idle_timeout_s
    offline = OfflineRecognizer(config.offline, decoding, SpeakerTagger(speakers, diarizing))
    # One thread: it alone touches the compiled lists.
    compiling = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="hotwords"))
    hotwords = Hotwords(config.hotwords, compiling)
    return (
        RecognizerServicer(models, offline, calls, containers, places, idle_timeout_s, hotwords),
        SpeakerServicer(speakers, gallery, calls, decoding, diarizing, containers, places, idle_timeout_s),
    )


def _start_housekeeping(stack: AsyncExitStack, group: asyncio.TaskGroup, models: Models, metrics: Metrics) -> None:
    for name, work in (("loop-lag", watch_loop_lag(metrics.loop_lag.observe)), ("integrity", watch_integrity(models))):
        stack.callback(group.create_task(work, name=name).cancel)


async def _start_metrics(stack: AsyncExitStack, config: Config, metrics: Metrics) -> None:
    if not config.metrics.port:
        return
    try:
        http, thread = start_http_server(config.metrics.port, config.metrics.host, metrics.registry)
    except OSError as error:
        raise StartFailed(f"metrics.port {config.metrics.port}: {error.strerror}") from error
    stack.callback(thread.join)
    stack.callback(http.server_close)
    stack.callback(http.shutdown)


async def _open(
    stack: AsyncExitStack, config: Config, gate: Gate, handlers: LateHandlers, checks: Any
) -> tuple[grpc.aio.Server, int]:
    """Start gRPC with health checks that say NOT_SERVING, and a place for the services; return it and its port."""
    listen = config.listen
    size = listen.max_message_mb << 20
    sizes = (("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size))
    wire = grpc.aio.server(handlers=(handlers,), options=(*CHANNEL_OPTIONS, *sizes), interceptors=(gate,))
    health_pb2_grpc.add_HealthServicer_to_server(checks, wire)
    reflection.enable_server_reflection((RECOGNIZER, SPEAKER, health.SERVICE_NAME, reflection.SERVICE_NAME), wire)
    port = _listen(wire, listen.host, listen.port, credentials(listen))
    for service in ("", RECOGNIZER, SPEAKER):
        await _tell(checks, service, is_serving=False)
    stack.push_async_callback(wire.stop, None)  # before the start, which may be cancelled
    await wire.start()
    return wire, port


async def _tell(checks: Any, service: str, is_serving: bool) -> None:
    """Set what health checks say of a service."""
    states = health_pb2.HealthCheckResponse
    await checks.set(service, states.SERVING if is_serving else states.NOT_SERVING)


async def _stop_grpc(server: Server, gate: Gate, wire: grpc.aio.Server) -> None:
    grace_s = server.config.listen.grace_s
    log.info("draining", grace_s=grace_s)
    await server.set_serving(False)
    await gate.drain(grace_s)
    await wire.stop(FLUSH_S)


def _joined(host: str, port: int) -> str:
    """Host and port as clients take them: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(wire: grpc.aio.Server, host: str, port: int, tls: grpc.ServerCredentials | None) -> int:
    address = _joined(host, port)
    try:
        return wire.add_secure_port(address, tls) if tls else wire.add_insecure_port(address)
    except RuntimeError as error:
        raise StartFailed(f"cannot listen on {address}: is another server there? ({error})") from error


async def serve(config: Config, on_ready: Callable[[Server], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal exits at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first_signal() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, _exit_now)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first_signal)
    async with start_server(config) as server:
        on_ready(server)
        await stop.wait()


def _exit_now(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
