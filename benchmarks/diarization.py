"""Diarization measured: error rates of the presets, an hour in one stream, many files at once.

    python -m benchmarks.dialogues UTTERANCES.tsv DIALOGUES           (conversations with a known truth)
    python -m benchmarks.diarization der DIALOGUES --models MODELS
    python -m benchmarks.diarization stream DIALOGUES --models MODELS --hours 1
    python -m benchmarks.diarization files DIALOGUES --models MODELS --count 100

`python -m benchmarks.diarization_peer` compares with sherpa-onnx. MODELS holds the folders of a speaker model, of
silero-vad and of pyannote-segmentation. Speed is given in processor seconds of the server's process, so that other
work on the machine matters less; wall time is given beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click
import grpc
import msgspec
import numpy as np

from benchmarks.dialogues import load
from benchmarks.server_process import RunningServer, server
from engines.kinds import kind_of_folder
from engines.segmentation.pyannote import PyannoteSegmentation
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import open_speaker
from engines.vad.silero import SileroVad
from protos import recognizer_pb2 as audio
from protos import speaker_pb2 as pb
from protos import speaker_pb2_grpc as rpc
from speech.diarization.der import DiarizationErrors, score_diarization, total
from speech.diarization.front import DiarizationFront
from speech.diarization.options import PRESETS, DiarizationOptions
from speech.diarization.powerset import LocalTracks, decode
from speech.diarization.story import diarize
from speech.rttm import RttmTurn, read_rttm

RATE = 16000
NO_PROBABILITIES = np.zeros(0, np.float32)


@click.group()
def main() -> None:
    """Measure diarization."""


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_DIALOGUES = click.argument("dialogues", type=_FOLDER)
_MODELS = click.option("--models", type=_FOLDER, required=True)


class Pipeline:
    """The models in this process, with everything that presets share computed once per file."""

    def __init__(self, models: Path) -> None:
        folders = {kind_of_folder(folder): folder for folder in sorted(models.iterdir()) if folder.is_dir()}
        self.engine = open_speaker(inspect_speaker(folders["speaker"]))
        self.vad = SileroVad(folders["vad"])
        self.segmentation = PyannoteSegmentation(folders["segmentation"])

    def read(self, path: Path) -> File:
        samples = load(path)
        return File(self, samples, self.vad.probabilities(samples))


class File:
    """One recording and what has been computed for it."""

    def __init__(self, pipeline: Pipeline, samples: np.ndarray, probabilities: np.ndarray) -> None:
        self._pipeline = pipeline
        self._samples = samples
        self._probabilities = probabilities
        self._vectors: dict[tuple[int, int], np.ndarray] = {}
        self._tracks: dict[int, LocalTracks] = {}

    def turns(self, name: str, options: DiarizationOptions) -> list[RttmTurn]:
        front = DiarizationFront(options, segments=options.overlap.is_on)
        cuts = [front.push(self._samples, self._probabilities), front.flush(NO_PROBABILITIES)]
        for piece in (piece for cut in cuts for piece in cut.pieces):
            key = (piece.region.begin, piece.region.end)
            if key not in self._vectors:
                engine = self._pipeline.engine
                self._vectors[key] = engine.embed([engine.features(piece.samples)])[0]
        windows = [window for cut in cuts for window in cut.windows]
        for window in windows:
            if window.first_frame not in self._tracks:
                log_probs = self._pipeline.segmentation.log_probs(window.samples[np.newaxis])[0]
                self._tracks[window.first_frame] = decode(window.first_frame, log_probs)
        regions = [piece.region for cut in cuts for piece in cut.pieces]
        vectors = [self._vectors[each.begin, each.end] for each in regions]
        found = diarize(
            regions,
            np.stack(vectors) if vectors else np.zeros((0, self._pipeline.engine.dimension), np.float32),
            options,
            num_samples=len(self._samples),
            windows=[self._tracks[window.first_frame] for window in windows],
        )
        return [RttmTurn(name, each.begin_s, each.end_s - each.begin_s, str(each.speaker)) for each in found.turns]


@main.command()
@_DIALOGUES
@_MODELS
@click.option("--only", default="*", help="Pattern of the files' names.")
def der(dialogues: Path, models: Path, only: str) -> None:
    """Error rates of every preset, with and without overlap, collar 0.25 s and 0."""
    pipeline = Pipeline(models)
    errors: dict[tuple[str, str, float], DiarizationErrors] = defaultdict(DiarizationErrors)
    wrong: dict[str, int] = defaultdict(int)
    paths = sorted(dialogues.glob(f"{only}.flac"))
    for path in paths:
        file, truth = pipeline.read(path), read_rttm(path.with_suffix(".rttm").read_text())
        for name, options in PRESETS.items():
            for is_on in (False, True):
                overlap = msgspec.structs.replace(options.overlap, is_on=is_on)
                found = file.turns(truth[0].file, msgspec.structs.replace(options, overlap=overlap))
                label = f"{name}{' + overlap' if is_on else ''}"
                wrong[label] += len({turn.speaker for turn in found}) != len({turn.speaker for turn in truth})
                for collar in (0.25, 0.0):
                    scored = total(score_diarization(truth, found, collar_s=collar))
                    for kind in (path.stem.split("-")[0], "all"):
                        errors[label, kind, collar] += scored
    kinds = sorted({kind for _, kind, _ in errors})
    for label in wrong:
        for collar in (0.25, 0.0):
            rates = "  ".join(f"{kind} {100 * errors[label, kind, collar].rate:5.2f}" for kind in kinds)
            print(f"{label:22s} collar {collar:4.2f}  {rates}  wrong number of speakers: {wrong[label]}/{len(paths)}")


def endless(dialogues: Path, seed: int = 0) -> Iterator[np.ndarray]:
    """Conversations one after another, at ever other levels."""
    rng = np.random.default_rng(seed)
    files = [load(path) for path in sorted(dialogues.glob("*.flac"))[:8]]
    while True:
        for index in rng.permutation(len(files)):
            yield files[index] * np.float32(10 ** (rng.uniform(-6, 0) / 20))


def _config() -> pb.SpeakerAudioConfig:
    return pb.SpeakerAudioConfig(encoding=audio.LINEAR16, sample_rate_hertz=RATE)


def _pcm(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


class Meter:
    """Processor seconds, wall seconds and memory of a server's process."""

    def __init__(self, running: RunningServer) -> None:
        self._running = running
        self._cpu, self._wall = running.cpu_s(), time.monotonic()
        self._base = self._peak = running.memory()

    def look(self) -> None:
        self._peak = max(self._peak, self._running.memory())

    def report(self, audio_s: float) -> str:
        self.look()
        cpu, wall = self._running.cpu_s() - self._cpu, time.monotonic() - self._wall
        return (
            f"{audio_s:.0f} s of audio: {cpu:.1f} processor seconds (factor {cpu / audio_s:.4f}), {wall:.1f} s wall "
            f"(factor {wall / audio_s:.4f}); memory {self._base >> 20} MiB before, {self._peak >> 20} MiB at most"
        )


@main.command()
@_DIALOGUES
@_MODELS
@click.option("--hours", default=1.0, show_default=True)
@click.option("--no-overlap", is_flag=True, help="Without segmentation.")
def stream(dialogues: Path, models: Path, hours: float, no_overlap: bool) -> None:
    """One long recording through DiarizeStream."""
    with server(models) as running:
        print(asyncio.run(_stream(running.address, Meter(running), dialogues, hours * 3600, not no_overlap)))


async def _stream(address: str, meter: Meter, dialogues: Path, seconds: float, overlap: bool) -> str:
    async def messages() -> AsyncIterator[pb.DiarizeStreamRequest]:
        options = pb.DiarizationConfig(overlap=overlap)
        yield pb.DiarizeStreamRequest(config=pb.DiarizeStreamConfig(config=_config(), diarization=options))
        left = int(seconds * RATE)
        for samples in endless(dialogues):
            for begin in range(0, len(samples), RATE):
                yield pb.DiarizeStreamRequest(audio_content=_pcm(samples[begin : begin + min(RATE, left)]))
                left -= len(samples[begin : begin + RATE])
                if left <= 0:
                    return

    stages: dict[str, float] = {}
    async with grpc.aio.insecure_channel(address) as channel:
        async for message in rpc.SpeakerStub(channel).DiarizeStream(messages()):
            meter.look()
            if message.WhichOneof("streaming_response") == "progress":
                stages.setdefault(pb.DiarizationProgress.Stage.Name(message.progress.stage), time.monotonic())
                continue
            result = message.result
            late = time.monotonic() - stages["CLUSTERING"]
            return (
                f"{meter.report(result.audio_seconds)}\n{result.num_windows} pieces, {len(result.speakers)} speakers, "
                f"{len(result.segments)} segments; clustering and drawing {late:.1f} s wall"
            )
    raise AssertionError("the call ends with a result")


@main.command()
@_DIALOGUES
@_MODELS
@click.option("--count", default=100, show_default=True)
@click.option("--concurrency", default=16, show_default=True)
@click.option("--no-overlap", is_flag=True, help="Without segmentation.")
def files(dialogues: Path, models: Path, count: int, concurrency: int, no_overlap: bool) -> None:
    """Many recordings at once through Diarize."""
    with server(models) as running:
        print(asyncio.run(_files(running.address, Meter(running), dialogues, count, concurrency, not no_overlap)))


async def _files(address: str, meter: Meter, dialogues: Path, count: int, concurrency: int, overlap: bool) -> str:
    options = [("grpc.max_send_message_length", -1)]
    places, seconds = asyncio.Semaphore(concurrency), 0.0
    async with grpc.aio.insecure_channel(address, options) as channel:
        stub = rpc.SpeakerStub(channel)

        async def one(samples: np.ndarray) -> None:
            nonlocal seconds
            async with places:
                wanted = pb.DiarizationConfig(overlap=overlap)
                request = pb.DiarizeRequest(config=_config(), diarization=wanted, audio=_pcm(samples))
                answer = await stub.Diarize(request)
                seconds += answer.audio_seconds
                meter.look()

        async with asyncio.TaskGroup() as group:
            for samples, _ in zip(endless(dialogues), range(count), strict=False):
                group.create_task(one(samples))
    return f"{count} files, {concurrency} at once: {meter.report(seconds)}"


if __name__ == "__main__":
    main()
