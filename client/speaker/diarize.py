"""`chorus diarize`: who spoke when, as text, RTTM, JSON or a picture."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from client import options as opts
from client.errors import CallFailed
from client.jobs import Problem, problem_of, run_in_order
from client.lists import Recording, from_paths, read_wav_scp
from client.packets import read_packets
from client.speaker import options as speaker_opts
from client.speaker.diarization import AsyncDiarizationClient, Diarization, DiarizationConfig, Preset, Progress
from client.speaker.timeline import draw, read_envelope
from client.speaker.values import VoiceConfig
from speech.errors import SpeechError
from speech.rttm import RttmTurn, write_rttm

_OUT = click.Path(dir_okay=False, path_type=Path)
_COUNT = click.IntRange(1, 100)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording."""

    recording: Recording
    diarization: Diarization | None
    problem: Problem | None = None


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("--wav-scp", type=_OUT, help="Kaldi list of recordings: `id path`, one a line.")
@click.option("--rttm", type=_OUT, help="Write the turns of all files here, as RTTM.")
@click.option("--plot", type=_OUT, help="Draw who spoke when; with several files their ids are added to the name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each file, with all there is.")
@click.option("--speakers", type=_COUNT, help="Their number, where it is known.")
@click.option("--min-speakers", type=_COUNT, help="At least so many.")
@click.option("--max-speakers", type=_COUNT, help="At most so many.")
@click.option("--preset", type=click.Choice(get_args(Preset)), default="chorus", show_default=True)
@click.option(
    "--overlap/--no-overlap", default=None, help="Report overlapping speech (default: as preset and server can)."
)
@click.option("--gap", type=click.IntRange(0, 60_000), metavar="MS", help="Fill pauses of one speaker up to this.")
@click.option("--min-duration", type=click.IntRange(0, 60_000), metavar="MS", help="Drop shorter turns.")
@click.option("--vad-threshold", type=click.FloatRange(0.01, 0.99), help="Probability from which a frame is speech.")
@click.option("--cluster-threshold", type=click.FloatRange(-1, 1), help="Cosine that joins voices in short recordings.")
@click.option("--merge-threshold", type=click.FloatRange(-1, 1), help="Cosine from which two speakers become one.")
@click.option("--name-threshold", type=click.FloatRange(-1, 1), help="Least cosine for a name from --gallery.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=2, help="Files at once.", show_default=True)
@click.option("--model", default="", help="Speaker model, by the name the server gives it.")
@speaker_opts.gallery_options
@opts.server_options
@speaker_opts.plain_errors
def diarize(**options: Any) -> None:
    """Say who spoke when in each FILE (WAV, FLAC, Ogg, MP3): lines `id begin end speaker`, or --rttm, --plot, --json.

    Without --server a server is started and ended again. With --gallery speakers get the names of enrolled ones. Files
    that fail are reported on standard error and make the exit status 1; the others are done all the same.
    """
    _check(options)
    recordings = read_wav_scp(options["wav_scp"]) if options["wav_scp"] else from_paths(options["files"])
    run = _Run(options, recordings)
    with speaker_opts.server_address(options, speaker_opts.DIARIZATION_MODELS) as address, run.shown():
        asyncio.run(run.run(address))
    if options["rttm"]:
        options["rttm"].write_text(write_rttm(run.turns), encoding="utf-8")
    if run.num_failed:
        raise SystemExit(1)


def _check(options: dict[str, Any]) -> None:
    """Refuse what cannot go together. Raises click.UsageError."""
    bounds = [options["min_speakers"], options["max_speakers"]]
    wrong = {
        "nothing to diarize: give files or --wav-scp": not (options["files"] or options["wav_scp"]),
        "files and --wav-scp exclude each other": options["files"] and options["wav_scp"],
        "standard input (`-`) is not taken here": "-" in options["files"],
        "--speakers goes without --min-speakers and --max-speakers": options["speakers"] and any(bounds),
        "--name-threshold goes with --gallery": options["name_threshold"] is not None and not options["gallery"],
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise click.UsageError(message)


def _config(options: dict[str, Any]) -> DiarizationConfig:
    return DiarizationConfig(
        preset=options["preset"],
        speakers=options["speakers"] or 0,
        min_speakers=options["min_speakers"] or 0,
        max_speakers=options["max_speakers"] or 0,
        overlap=options["overlap"],
        merge_gap_ms=options["gap"],
        min_duration_ms=options["min_duration"],
        vad_threshold=options["vad_threshold"],
        cluster_threshold=options["cluster_threshold"],
        merge_threshold=options["merge_threshold"],
        gallery=options["gallery"],
        name_threshold=options["name_threshold"],
        with_vectors=options["as_json"],
    )


class _Run:
    """One list of recordings on its way: prints what is finished, keeps turns and failures."""

    def __init__(self, options: dict[str, Any], recordings: Sequence[Recording]) -> None:
        self.turns: list[RttmTurn] = []
        self.num_failed = 0
        self._options = options
        self._recordings = recordings
        self._config = _config(options)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show progress on a terminal, while inside."""
        self._bar.disable = not self._bar.console.is_terminal
        with self._bar:
            yield

    async def run(self, address: str) -> None:
        async with AsyncDiarizationClient(address, **speaker_opts.client_settings(self._options)) as client:

            async def work(recording: Recording) -> Outcome:
                return await self._one(client, recording)

            await run_in_order(self._recordings, work, self._finish, self._options["concurrency"])

    async def _one(self, client: AsyncDiarizationClient, recording: Recording) -> Outcome:
        task = self._bar.add_task(recording.id, total=1.0, stage="")
        voice = VoiceConfig(model=self._options["model"])

        def show(progress: Progress) -> None:
            done = progress.windows_done / max(1, progress.windows_total)
            self._bar.update(task, completed=done, stage=f"{progress.stage}, {progress.audio_s:.0f} s")

        try:
            packets = read_packets(recording.path)
            result = await client.diarize(packets, self._config, voice, on_progress=show)
            await self._draw(recording, result)
        except (CallFailed, OSError, SpeechError) as error:
            return Outcome(recording, None, problem_of(error, recording))
        finally:
            self._bar.remove_task(task)
        return Outcome(recording, result)

    async def _draw(self, recording: Recording, result: Diarization) -> None:
        path: Path | None = self._options["plot"]
        if path is None:
            return
        if len(self._recordings) > 1:
            path = path.with_name(f"{path.stem}-{recording.id.replace('/', '_')}{path.suffix}")
        names = [speaker.name for speaker in result.speakers]
        envelope, rate = await asyncio.to_thread(read_envelope, recording.path)
        await asyncio.to_thread(draw, path, result.turns, names, envelope, rate, recording.id)

    def _finish(self, outcome: Outcome) -> None:
        if outcome.diarization is None:
            self.num_failed += 1
            assert outcome.problem is not None, "what is not done has a reason"
            click.echo(f"{outcome.recording.id}: {outcome.problem.status} {outcome.problem.message}", err=True)
            return
        key = "_".join(outcome.recording.id.split())
        turns = outcome.diarization.turns
        self.turns += [
            RttmTurn(key, turn.begin_s, turn.end_s - turn.begin_s, "_".join(turn.speaker.split())) for turn in turns
        ]
        if self._options["as_json"]:
            click.echo(json.dumps(_document(outcome.recording.id, outcome.diarization), ensure_ascii=False))
        elif not self._options["rttm"]:
            for turn in turns:
                click.echo(f"{outcome.recording.id}\t{turn.begin_s:.3f}\t{turn.end_s:.3f}\t{turn.speaker}")


def _document(key: str, result: Diarization) -> dict[str, Any]:
    return {
        "id": key,
        "audio_s": round(result.audio_s, 3),
        "speech_s": round(result.speech_s, 3),
        "model": result.model,
        "fingerprint": result.fingerprint,
        "turns": [
            {
                "begin_s": turn.begin_s,
                "end_s": turn.end_s,
                "speaker": turn.speaker,
                "confidence": round(turn.confidence, 4),
                "overlaps": turn.overlaps,
            }
            for turn in result.turns
        ],
        "speakers": [
            {
                "name": speaker.name,
                "seconds": round(speaker.seconds, 3),
                "turns": speaker.num_turns,
                "name_score": round(speaker.name_score, 4) if speaker.is_enrolled else None,
                "vector": speaker.vector.tolist(),
            }
            for speaker in result.speakers
        ],
    }
