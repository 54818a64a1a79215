"""A real server with tiny speaker models on a free port, voices for it, and a voice activity model one can predict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest

from protos import recognizer_pb2 as audio
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc as rpc
from server.app import Server, start_server
from server.config import load_config
from tests.engines import vad_graphs
from tests.server.support import DATA, RATE, eventually

WESPEAKER, THREE_D = "speaker-wespeaker", "speaker-3dspeaker"


class LoudnessVad:
    """A voice activity model of one rule: a window louder than 0.01 is speech."""

    sample_rate = RATE
    window_samples = 512

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` as SileroVad has it, and of no use here."""

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        stream = self.stream()
        return np.concatenate([stream.push(samples), stream.flush()])

    def probabilities_of(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.probabilities(samples) for samples in recordings]

    def stream(self) -> LoudnessStream:
        return LoudnessStream()


class LoudnessStream:
    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        samples = np.concatenate([self._rest, samples])
        windows = samples[: len(samples) // 512 * 512].reshape(-1, 512)
        self._rest = samples[windows.size :]
        return (np.sqrt((windows**2).mean(axis=1)) > 0.01).astype(np.float32)

    def flush(self) -> np.ndarray:
        rest, self._rest = self._rest, np.zeros(0, np.float32)
        return self.push(np.pad(rest, (0, 512 - len(rest)))) if len(rest) else np.zeros(0, np.float32)


def folder_of(root: Path, *names: str, vad: bool = False) -> Path:
    """A folder of the named tiny models; with `vad`, one that is found as a voice activity model too."""
    folder = root / "models"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).symlink_to(DATA / "models" / name)
    if vad:
        (folder / "vad").mkdir()
        vad_graphs.sequence(folder / "vad" / "sequence.onnx")
    return folder


def frozen(root: Path, num_frames: int) -> Path:
    """A folder with the WeSpeaker model as its exporter writes it with `--num_frames`: one batch size, one length."""
    graph = onnx.load(DATA / "models" / WESPEAKER / "model.onnx")
    for axis, size in zip(graph.graph.input[0].type.tensor_type.shape.dim, (1, num_frames), strict=False):
        axis.Clear()
        axis.dim_value = size
    (root / "models" / "frozen").mkdir(parents=True)
    onnx.save(graph, root / "models" / "frozen" / "model.onnx")
    return root / "models"


@asynccontextmanager
async def speaking(models: Path, **speaker: Any) -> AsyncIterator[tuple[Server, Any]]:
    """A server and a stub of its Speaker service; at the end nothing may be left of any call."""
    tree = {
        "models": str(models),
        "engine": {"threads": 2},
        "log": {"level": "error"},
        "listen": {"port": 0, "grace_s": 5.0},
        "streaming": {"idle_timeout_s": 5.0},
        "speaker": {"gallery": ":memory:", **speaker},
    }
    async with start_server(load_config(environment={}, overrides=tree)) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield server, rpc.SpeakerStub(channel)
        await nothing_left(server)


async def nothing_left(server: Server) -> None:
    """Wait until no piece waits or runs; fails after 5 s."""
    batchers = [batcher for model in server.speakers for _, batcher in model.batchers()]
    await eventually(lambda: all(each.num_waiting == 0 and each.num_in_flight == 0 for each in batchers))


def voice(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """A hum of the seed's own pitch and colour with syllables: enough for a random network to tell seeds apart."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch, partials = random.uniform(90, 250), random.uniform(0.2, 1, 12)
    tone = sum(level * np.sin(2 * np.pi * pitch * (k + 1) * time) for k, level in enumerate(partials))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * random.uniform(2, 5) * time)
    noise = np.random.default_rng(seed + 1000).standard_normal(len(time)) * 0.02
    return (0.1 * tone * syllables + noise * syllables).clip(-1, 1).astype(np.float32)


def linear16(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def float32(samples: np.ndarray) -> bytes:
    return samples.astype("<f4").tobytes()


def config(**fields: Any) -> pb.SpeakerAudioConfig:
    return pb.SpeakerAudioConfig(**{"encoding": audio.FLOAT32, "sample_rate_hertz": RATE, **fields})


def embed_request(samples: np.ndarray, options: pb.EmbeddingOptions | None = None, **fields: Any) -> pb.EmbedRequest:
    return pb.EmbedRequest(config=config(**fields), audio=float32(samples), options=options)


def voice_of(samples: np.ndarray, **fields: Any) -> pb.Voice:
    return pb.Voice(audio=pb.VoiceAudio(config=config(**fields), content=float32(samples)))


def vector(response: pb.EmbedResponse) -> np.ndarray:
    return np.array(response.embedding, np.float32)


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.dot(first, second) / (np.linalg.norm(first) * np.linalg.norm(second)))


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """The status and text a call ends with, which must be an error."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), failed.value.details() or ""
