"""`chorus embed`: recordings to speaker vectors, in Kaldi's files or as JSON lines."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from client import options as opts
from client.errors import CallFailed
from client.jobs import Problem, problem_of, run_in_order
from client.lists import Recording, from_paths, read_wav_scp
from client.packets import read_packets
from client.sources import STDIN, stdin_packets
from client.speaker import options as speaker_opts
from client.speaker.archive import Archive, to_npy, to_parquet
from client.speaker.client import AsyncSpeakerClient
from client.speaker.values import Embedding, VoiceConfig
from speech.errors import SpeechError

STREAM_BYTES = 16 << 20  # larger files are streamed: servers bound the size of a message
_EXPORTS: dict[str, Callable[[Path], list[Path]]] = {"npy": to_npy, "parquet": to_parquet}


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one recording: a vector, or why there is none."""

    recording: Recording
    embedding: Embedding | None = None
    problem: Problem | None = None


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option(
    "--wav-scp",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Kaldi list of recordings: `id path`, one a line.",
)
@click.option("--out", metavar="DIR", help="Write xvector_000.ark and .scp here, and go on with what is there.")
@click.option("--also", "exports", multiple=True, type=click.Choice(sorted(_EXPORTS)), help="With --out: more formats.")
@click.option("--fresh", is_flag=True, help="With --out: begin anew.")
@click.option("--normalize", is_flag=True, help="Vectors of length 1.")
@speaker_opts.voice_options
@opts.server_options
@click.option("--concurrency", type=click.IntRange(1, 256), default=8, help="Recordings at once.", show_default=True)
@speaker_opts.plain_errors
def embed(**options: Any) -> None:
    """Turn each FILE (WAV, FLAC, Ogg, MP3; `-` is standard input) into a speaker vector.

    Without --out each vector is printed as one JSON object. Without --server a server is started and ended again.
    Recordings that fail are reported on standard error and make the exit status 1; the others are embedded nonetheless.
    """
    _check(options)
    recordings = read_wav_scp(options["wav_scp"]) if options["wav_scp"] else from_paths(options["files"])
    folder = speaker_opts.data_folder(options["out"]) if options["out"] else None
    archive = Archive(folder, fresh=options["fresh"]) if folder else None
    try:
        run = _Run(options, recordings, archive)
        if run.todo:
            with speaker_opts.server_address(options) as address, run.progress:
                asyncio.run(run.run(address))
    finally:
        if archive is not None:
            archive.close()
    if folder is not None:
        for name in options["exports"]:
            _EXPORTS[name](folder)
        click.echo(run.summary(), err=True)
    if run.num_failed:
        raise SystemExit(1)


def _check(options: dict[str, Any]) -> None:
    wrong = {
        "nothing to embed: give files, `-` or --wav-scp": not (options["files"] or options["wav_scp"]),
        "files and --wav-scp exclude each other": options["files"] and options["wav_scp"],
        "--also and --fresh go with --out": (options["exports"] or options["fresh"]) and not options["out"],
        "`-` can be given once": options["files"].count(STDIN) > 1,
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise click.UsageError(message)


class _Run:
    """One list of recordings on its way: keeps what is finished, in the list's order."""

    def __init__(self, options: dict[str, Any], recordings: list[Recording], archive: Archive | None) -> None:
        self._options = options
        self._archive = archive
        self._settings = speaker_opts.client_settings(options)
        self._config = replace(speaker_opts.voice_config(options), normalize=options["normalize"])
        known = archive.ids if archive else set()
        self.todo = [recording for recording in recordings if recording.id not in known]
        self._num_known = len(recordings) - len(self.todo)
        self._num_done = 0
        self.num_failed = 0
        console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("Embedding"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self.progress.add_task("", total=len(recordings), completed=self._num_known)

    async def run(self, address: str) -> None:
        async with AsyncSpeakerClient(address, **self._settings) as client:

            async def work(recording: Recording) -> Outcome:
                return await embed_recording(client, recording, self._config)

            await run_in_order(self.todo, work, self._finish, self._options["concurrency"])

    def summary(self) -> str:
        """One line for the end."""
        return f"{self._num_done} embedded, {self._num_known} were there, {self.num_failed} failed"

    def _finish(self, outcome: Outcome) -> None:
        self.progress.advance(self._bar)
        if outcome.problem is not None:
            self.num_failed += 1
            # Above the bar, which is on the same standard error.
            self.progress.console.print(
                f"{outcome.recording.id}: {outcome.problem.status} {outcome.problem.message}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        elif outcome.embedding is not None:
            self._num_done += 1
            if self._archive is not None:
                self._archive.add(outcome.recording.id, outcome.embedding)
            else:
                click.echo(to_json(outcome.recording.id, outcome.embedding))


async def embed_recording(client: AsyncSpeakerClient, recording: Recording, config: VoiceConfig) -> Outcome:
    """Embed one recording; whatever is wrong with it becomes the outcome's problem."""
    try:
        return Outcome(recording, await _embed(client, recording.path, config))
    except (CallFailed, OSError, SpeechError) as error:
        return Outcome(recording, problem=problem_of(error, recording))


async def _embed(client: AsyncSpeakerClient, path: str, config: VoiceConfig) -> Embedding:
    if path == STDIN:
        return await client.embed(await asyncio.to_thread(lambda: b"".join(stdin_packets())), config)
    if (await asyncio.to_thread(Path(path).stat)).st_size > STREAM_BYTES:
        return await client.embed_stream(read_packets(path, 1 << 18), config)
    return await client.embed(path, config)


def to_json(key: str, embedding: Embedding) -> str:
    """One vector with what is known of it."""
    quality = embedding.quality
    document = {
        "id": key,
        "model": embedding.model,
        "fingerprint": embedding.fingerprint,
        "audio_s": round(embedding.audio_s, 3),
        "speech_s": round(embedding.speech_s, 3),
        "quality": quality.level,
        "snr_db": round(quality.snr_db, 1),
        "embedding": [float(f"{value:.7g}") for value in embedding.vector.tolist()],
    }
    return json.dumps(document, ensure_ascii=False)
