"""The server's settings: one tree of structs, filled from defaults, a TOML file, the environment and flags.

A wrong or unknown key is an error that names its path, wherever it came from.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from server.config_checks import check_together
from server.errors import BadConfig
from server.event_loop import Choice

ENVIRONMENT_PREFIX = "CHORUS_"
# Read by engines/pull, which other commands use without these settings.
OTHER_VARIABLES = ("CHORUS_CACHE", "CHORUS_OFFLINE")

Count = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]


class ListenConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the server listens and how long it lets calls finish."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8001
    # Both or neither: PEM files of the server's certificate chain and key (checked in server/tls.py, as they may come
    # from different sources).
    tls_certificate: str | None = None
    tls_key: str | None = None
    # PEM file of the authorities that must have signed the clients' certificates (mutual TLS).
    tls_client_authorities: str | None = None
    # How long running calls may go on after the first SIGTERM or SIGINT.
    grace_s: Annotated[float, Meta(ge=0)] = 10.0
    # gRPC's own default of 4 MB refuses two minutes of audio in one message.
    max_message_mb: Count = 64


class EngineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the graphs run."""

    # Threads of an engine's graphs together; 0 takes the processors this process may use.
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    # Copies of a streaming engine that share the threads, each with its own part of the streams; 0 chooses.
    lanes: Annotated[int, Meta(ge=0, le=64)] = 0
    # Busy waiting between operators: lower latency on an idle machine, wasted cores on a shared one.
    spinning: bool = False
    # Streaming encoders of icefall run a cheaper graph of the same numbers, made when they are loaded; CAM++ runs in
    # compiled kernels where these are faster.
    rewrite_graphs: bool = True
    # What of ONNX Runtime runs the networks of recognisers and speakers, as in CUDAExecutionProvider with the package
    # onnxruntime-gpu; larger batches (speaker.max_batch_size 32, say) then pay. Only processors have been tried.
    provider: Annotated[str, Meta(pattern="^[A-Za-z]+ExecutionProvider$")] = "CPUExecutionProvider"


class StreamingConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams: how many, how long, and how their chunks are batched."""

    # Streams at once, over all channels; each costs its encoder cache whether it is used or not.
    max_streams: Count = 256
    max_batch_size: Count = 16
    preferred_batch_sizes: tuple[Count, ...] = ()
    # How long a step may wait for company while the engine is idle.
    max_queue_delay_ms: Milliseconds = 0.0
    # A chunk is due this long after its last sample arrived.
    latency_budget_ms: Milliseconds = 200.0
    # A stream that sends neither audio nor its end for so long is finished.
    idle_timeout_s: Seconds = 60.0
    # Streams of container formats (WAV, FLAC, Ogg, MP3) at once; each has a decoder thread.
    max_container_streams: Count = 64


class OfflineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unary recognition: batching with the semantics of Triton's dynamic batcher, plus length buckets."""

    max_batch_size: Count = 8
    preferred_batch_sizes: tuple[Count, ...] = ()
    max_queue_delay_ms: Milliseconds = 0.0
    # Waiting pieces of each priority level.
    max_queue_size: Count = 256
    # A request's priority: 1 is the highest, served strictly first. Requests without one, or with an unknown one, have
    # the default level.
    priority_levels: Count = 1
    default_priority_level: Count = 1
    # Longest wait for a turn, 0 for none; a request may only lower it. Then "reject" ends the call with
    # DEADLINE_EXCEEDED, "delay" lets it wait on behind all of its level that are in time.
    default_timeout_ms: Milliseconds = 0.0
    timeout_action: Literal["reject", "delay"] = "reject"
    # Upper bounds of the length buckets in seconds; longer audio forms a last bucket.
    bucket_seconds: tuple[Seconds, ...] = (2.0, 4.0, 8.0, 16.0, 32.0)
    # Requests under way, from their arrival to their answer; one more is refused.
    max_requests: Count = 256
    # Memory of all requests' audio, as it came and decoded (an hour of one channel is 220 MB); what would be too much
    # beside others is refused. What is being decoded, on a thread for each processor, counts when it is done.
    max_memory_mb: Count = 2048
    # Longest audio of one request, all channels added up: what is decoded of it is in memory until it is recognised.
    max_audio_s: Seconds = 4 * 3600.0
    # Longer audio is cut at quiet places into pieces of at most this length.
    max_piece_s: Annotated[float, Meta(ge=5, le=180)] = 30.0


class HotwordsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Phrases to favour: the server's own lists, and how much a request may ask for."""

    # A folder of lists, NAME.txt with `phrase` or `phrase :boost` a line, read again when a file changes.
    folder: str | None = None
    # Phrases of one stream, its own and its lists' together; 5,000 take about 2 MB of memory.
    max_phrases: Count = 20_000


class RescoringConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attention decoder's batches, formed from segments that end at about the same time."""

    max_batch_size: Count = 8
    # Tokens of one call, those of all hypotheses and their padding; a longer segment goes alone. All segments of a call
    # wait for its end, and on a processor a token costs the same in any company.
    max_batch_tokens: Count = 512
    # Calls at once, each on a thread; 0 takes as many as the streaming engine has lanes.
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    # A segment that has waited so long for its turn keeps the search's order, which is less exact; 0 waits for ever.
    max_wait_ms: Milliseconds = 0.0
    # Begin a stream's second pass in a pause of 0.3 s or more, which may be the end: finals come sooner after an
    # endpoint, for what is computed in vain where the sentence goes on.
    read_ahead: bool = True
    max_queue_delay_ms: Milliseconds = 0.0
    max_queue_size: Count = 4096


class SpeakerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Speaker embedding, verification and the gallery."""

    # Speaker model for requests that name none; None takes the only one, or the first by name.
    default_model: str | None = None
    # Embeddings computed at once, each on one thread; 0 takes as many as engine.threads.
    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    # Requests in one run of the graph. On processors more than one only adds delay (docs/benchmarks.md).
    max_batch_size: Count = 1
    preferred_batch_sizes: tuple[Count, ...] = ()
    max_queue_delay_ms: Milliseconds = 0.0
    max_queue_size: Count = 256
    # "exact": only equal lengths share a run. "fill": shorter ones are repeated up to the longest, which moves their
    # vectors a little (cosine 0.99 at half as long again).
    batching: Literal["exact", "fill"] = "exact"
    # With "fill": the largest share of repeated audio in anybody's input.
    max_fill: Annotated[float, Meta(ge=0, le=0.5)] = 0.2
    # Upper bounds of the length buckets that batches are formed from.
    bucket_seconds: tuple[Seconds, ...] = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
    # Longer audio is cut into pieces whose vectors are averaged.
    window_s: Annotated[float, Meta(ge=3, le=300)] = 30.0
    # Longest audio of one message, all channels added up. EmbedStream and DiarizeStream take any length.
    max_audio_s: Seconds = 4 * 3600.0
    # Enrolled speakers: a file, ":memory:", "" for none; None is gallery.sqlite in the user's data folder.
    gallery: str | None = None


class MetricsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prometheus numbers over HTTP."""

    # 0 turns them off.
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    host: str = "127.0.0.1"


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One structured line per finished call, on standard error."""

    level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    json: bool = False


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of a server."""

    # A folder of model folders, one model folder, a name of `chorus models list`, fetched if need be, or of an embedded
    # model; or several, separated by commas. None is "embedded,fetched": those that come with Chorus, with english-u2pp
    # the first, and those that were fetched.
    models: str | None = None
    # A language model (ARPA or KenLM binary) for every model that it fits and whose model.toml names none.
    lm: str | None = None
    # A token bigram (ARPA or KenLM trie) that requests may have subtracted from it: LODR, for transducers.
    lodr: str | None = None
    # Model for requests that name none; None takes the only one, or the first: as `models` lists them, in one folder by
    # name.
    default_model: str | None = None
    # "auto": uvloop where it is installed, else asyncio's own loop.
    event_loop: Choice = "auto"
    listen: ListenConfig = ListenConfig()
    engine: EngineConfig = EngineConfig()
    streaming: StreamingConfig = StreamingConfig()
    offline: OfflineConfig = OfflineConfig()
    rescoring: RescoringConfig = RescoringConfig()
    hotwords: HotwordsSettings = HotwordsSettings()
    speaker: SpeakerConfig = SpeakerConfig()
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()


def load_config(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Read the settings from `path`, then the environment, then `overrides` (nested like the tree; None is left out).

    Environment variables are CHORUS_ and the path joined by two underscores: CHORUS_LISTEN__PORT=9000.
    Raises BadConfig naming the source and the path of the first wrong key.
    """
    layers = {
        str(path): _read_toml(path) if path else {},
        "environment": _from_environment(os.environ if environment is None else environment),
        "command line": _without_none(overrides or {}),
    }
    tree: dict[str, Any] = {}
    for source, layer in layers.items():
        _check(layer, source, strict=source != "environment")
        tree = _merge(tree, layer)
    config = _check(tree, "settings", strict=False)
    check_together(config)
    return config


def _check(tree: Mapping[str, Any], source: str, *, strict: bool) -> Config:
    """Convert one layer, so that a complaint names its source. The environment has only text: not strict."""
    try:
        return msgspec.convert(tree, Config, strict=strict)
    except msgspec.ValidationError as error:
        raise BadConfig(f"{source}: {error}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Nest CHORUS_A__B=value as {a: {b: value}}; a value that starts with [ is read as a TOML array."""
    tree: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        *parents, leaf = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise BadConfig(f"environment: {name} is both a value and a section")
        node[leaf] = _environment_value(name, value)
    return tree


def _environment_value(name: str, value: str) -> Any:
    if not value.startswith("["):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"environment: {name} is not a TOML array: {error}") from error


def _merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _without_none(tree: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = {key: _without_none(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    return {key: value for key, value in cleaned.items() if value is not None and value != {}}
