"""`chorus transcribe`: recordings or the microphone to text, through a running server or one started for the time."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import click

from client import options as opts
from client import output
from client.client import AsyncClient
from client.display import Display
from client.embedded import EmbeddedServer
from client.errors import ClientError
from client.jobs import Job, Outcome, recognise, run_in_order
from client.lists import Recording, from_paths, read_texts, read_wav_scp
from client.results import StreamResult, Update, transcript
from client.sources import MICROPHONE_CONFIG, microphone
from client.speaker.options import DIARIZATION_MODELS, server_address
from speech.errors import SpeechError

_MICROPHONE = Recording("mic", "microphone")
INTERRUPTED = 130  # the shell's way: 128 and the number of SIGINT


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE...]")
@opts.input_options
@opts.server_options
@opts.recognition_options
@opts.speaker_options
@click.option("--offline", is_flag=True, help="Send each recording whole, and get it back whole.")
@click.option("--real-time", is_flag=True, help="Send as fast as it was spoken, no faster.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=4, help="Recordings at once.", show_default=True)
@click.option("--json", is_flag=True, help="One JSON object for each recording, with all there is.")
def transcribe(**options: Any) -> None:
    """Print `id<TAB>text` for each FILE (WAV, FLAC, Ogg, MP3; `-` is standard input).

    With --offline --diarize the text is cut where the speaker changes: `id<TAB>speaker 1<TAB>text`.
    Without --server a server is started and ended again. Recordings that fail are reported on standard error and make
    the exit status 1; the others are transcribed all the same.
    """
    try:
        opts.check(options)
        is_fine = (_from_microphone if options["mic"] else _recordings)(options)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except (ClientError, SpeechError) as error:
        raise click.ClickException(str(error)) from error
    if not is_fine:
        raise SystemExit(1)


def _recordings(options: dict[str, Any]) -> bool:
    """Transcribe files and say whether all went well."""
    recordings = read_wav_scp(options["wav_scp"]) if options["wav_scp"] else from_paths(options["files"])
    references = read_texts(options["trans"]) if options["trans"] else {}
    run = _Run(options, recordings)
    with _server(options) as address, run.display:
        asyncio.run(run.run(address))
    if options["trans"]:
        click.echo(_score(references, run, options), err=options["json"])
    return run.num_failed == 0


class _Run:
    """One list of recordings on its way: prints what is finished and collects texts and failures."""

    def __init__(self, options: dict[str, Any], recordings: list[Recording]) -> None:
        self.texts: dict[str, str] = {}
        self.num_failed = 0
        self._warned = False
        self.display = Display(len(recordings))
        self._options = options
        self._settings = _client_settings(options)
        self._recordings = recordings
        self.ids = {recording.id for recording in recordings}
        config = replace(opts.config_from(options), interim_results=self.display.is_live)
        self._job = Job(config, offline=options["offline"], real_time=options["real_time"])

    async def run(self, address: str) -> None:
        async with AsyncClient(address, **self._settings) as client:

            async def work(recording: Recording) -> Outcome:
                return await recognise(client, self._job, recording, self.display)

            await run_in_order(self._recordings, work, self._finish, self._options["concurrency"])

    def _finish(self, outcome: Outcome) -> None:
        self.display.finished(outcome)
        self.texts |= output.texts(outcome)
        if outcome.problem is not None:
            self.num_failed += 1
            problem = outcome.problem
            self.display.print_problem(f"{outcome.recording.id}: {problem.status} {problem.message}")
        warning = output.hotwords_warning(outcome.transcript)
        if warning and not self._warned:
            self._warned = True  # every recording is told the same
            self.display.print_problem(warning)
        self.display.print_lines(_printed(outcome, self._options))


def _printed(outcome: Outcome, options: dict[str, Any]) -> list[str]:
    if options["json"]:
        return [output.to_json(outcome)]
    return list(
        output.lines(outcome, word_times=options["word_times"], n_best=options["n_best"], speakers=options["diarize"])
    )


def _score(references: dict[str, str], run: _Run, options: dict[str, Any]) -> str:
    """Say how wrong the transcripts are: against the references of this run's recordings, failed ones as deleted."""
    # Scoring brings in the alignment library: not needed for transcribing.
    from client.compare import compare

    asked = {key: text for key, text in references.items() if key.partition("[")[0] in run.ids or key in run.ids}
    comparison = compare(asked, run.texts, by_character=options["cer"], normalise=options["normalise"])
    notes = [comparison.summary()]
    if comparison.missing:
        notes.append(f"{len(comparison.missing)} not transcribed, counted as deleted")
    if comparison.extra:
        notes.append(f"{len(comparison.extra)} without a reference")
    return "; ".join(notes)


@contextmanager
def _server(options: dict[str, Any]) -> Iterator[str]:
    """Give the address of the running server, or of one that lives as long as the block."""
    if options["diarize"]:  # models for that are fetched at the first need
        with server_address(options, f"embedded,{DIARIZATION_MODELS}") as address:
            yield address
    elif options["server"]:
        yield options["server"]
    else:
        with EmbeddedServer(options["models"] or "embedded") as server:
            yield server.address


def _client_settings(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "tls": opts.tls_from(options),
        "metadata": opts.metadata_from(options),
        "timeout_s": options["timeout"],
    }


def _from_microphone(options: dict[str, Any]) -> bool:
    """Transcribe what is said until Ctrl-C: the first one ends the recording, and its last words still come."""
    over = threading.Event()
    settings = _client_settings(options)
    device = int(options["device"]) if (options["device"] or "").isdecimal() else options["device"]
    with _server(options) as address, Display(1) as display, _on_interrupt(over.set):
        audio = microphone(device, is_over=over.is_set)
        updates = asyncio.run(_listen(address, settings, audio, options, display))
    if options["json"]:
        click.echo(output.to_json(Outcome(_MICROPHONE, transcript(updates))))
    return True


async def _listen(
    address: str, settings: dict[str, Any], audio: Iterator[bytes], options: dict[str, Any], display: Display
) -> list[Update]:
    """Print each segment as soon as it is final; with --json keep all for the end."""
    form = MICROPHONE_CONFIG
    config = replace(
        opts.config_from(options), encoding=form.encoding, sample_rate=form.sample_rate, channels=form.channels
    )
    updates: list[Update] = []
    async with AsyncClient(address, **settings) as client, aclosing(client.stream(audio, config)) as stream:
        async for update in stream:
            if not isinstance(update, StreamResult):
                updates.append(update)
            elif not update.is_final:
                display.heard(_MICROPHONE, update)
            else:
                updates.append(update)
                segment = Outcome(_MICROPHONE, transcript([update]))
                display.finished(segment)
                display.print_lines([] if options["json"] else _printed(segment, options))
    return updates


@contextmanager
def _on_interrupt(first: Callable[[], None]) -> Iterator[None]:
    """Call `first` at the first Ctrl-C; the second one interrupts as usual."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        first()

    old = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)
