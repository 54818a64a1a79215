"""Options that the speaker commands share, and what comes out of them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from client import options as opts
from client.config import EncodingName
from client.embedded import EmbeddedServer
from client.errors import ClientError, ServerFailed
from client.speaker.values import VoiceConfig
from speech.errors import SpeechError

Command = TypeVar("Command", bound=Callable[..., Any])

SPEAKER_MODELS = "campplus,silero-vad"
DIARIZATION_MODELS = f"{SPEAKER_MODELS},pyannote-segmentation"
INTERRUPTED = 130  # the shell's way: 128 and the number of SIGINT


def voice_options(command: Command) -> Command:
    """How recordings are to be read and embedded."""
    for option in reversed(
        (
            click.option("--model", default="", help="Speaker model, by the name the server gives it."),
            click.option("--trim-silence", is_flag=True, help="Use only what is speech."),
            click.option("--vad-threshold", type=click.FloatRange(0, 0.99), default=0.0, help="Default 0.5."),
            click.option("--min-speech", type=click.IntRange(0, 60_000), default=0, metavar="MS", help="Refuse less."),
            click.option("--encoding", type=click.Choice(get_args(EncodingName)), default="auto", help="Of the files."),
            click.option(
                "--rate", type=click.IntRange(8000, 48000), help="Samples a second of audio without a header."
            ),
            click.option("--channels", type=click.IntRange(1, 8), help="Channels of audio without a header."),
            click.option("--channel", type=click.IntRange(1, 8), help="The one to use (default: the mean of all)."),
        )
    ):
        command = option(command)
    return command


def gallery_options(command: Command) -> Command:
    """Which speakers are meant."""
    for option in (
        click.option("--gallery-file", metavar="FILE", help="Speakers' file of the server that is started here."),
        click.option("--gallery", default="", help="Name of the gallery. Default: `default`."),
    ):
        command = option(command)
    return command


def voice_config(options: dict[str, Any]) -> VoiceConfig:
    """Make the settings of the parsed options."""
    if options["encoding"] in ("linear16", "float32", "mulaw", "alaw") and not options["rate"]:
        raise click.UsageError(f"--encoding {options['encoding']} has no header: --rate is needed")
    return VoiceConfig(
        encoding=options["encoding"],
        sample_rate=options["rate"] or 0,
        channels=options["channels"] or 0,
        channel=options["channel"] or 0,
        model=options["model"],
        trim_silence=options["trim_silence"],
        vad_threshold=options["vad_threshold"],
        min_speech_ms=options["min_speech"],
    )


@contextmanager
def server_address(options: dict[str, Any], default_models: str = SPEAKER_MODELS) -> Iterator[str]:
    """Give the address of the running server, or of one that lives as long as the block.

    That one serves `default_models` unless --models says otherwise, which are fetched at the first need. Raises
    click.UsageError, ServerFailed.
    """
    own = [name for name in ("models", "gallery_file") if options.get(name)]
    if options["server"] and own:
        flag = own[0].replace("_", "-")
        raise click.UsageError(f"--{flag} is for the server that is started here: not with --server")
    if options["server"]:
        yield options["server"]
        return
    if not options["models"]:
        _fetch(default_models)
    arguments = ["--gallery", options["gallery_file"]] if options.get("gallery_file") else []
    with EmbeddedServer(options["models"] or default_models, arguments=arguments) as server:
        yield server.address


def _fetch(models: str) -> None:
    """Fetch the models that are not there yet, in sight of the user: this may take minutes, once."""
    names = [name for name in models.split(",") if name != "embedded"]
    command = [sys.executable, "-m", "server", "models", "pull", *names]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False)  # noqa: S603 -- ours
    if done.returncode:
        raise ServerFailed("the models could not be fetched; name your own with --models, or a server with --server")


def client_settings(options: dict[str, Any]) -> dict[str, Any]:
    """What either client is made with."""
    return {
        "tls": opts.tls_from(options),
        "metadata": opts.metadata_from(options),
        "timeout_s": options["timeout"],
    }


def plain_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Show expected errors as one line; Ctrl-C ends quietly."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except Exception as error:
            text = _expected(error)
            if text is None:
                raise
            raise click.ClickException(text) from error

    return wrapped


def _expected(error: Exception) -> str | None:
    """Return what to tell the user, None for what is our own mistake."""
    while isinstance(error, ExceptionGroup):  # what a group of tasks raises
        error = error.exceptions[0]
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return str(error) if isinstance(error, ClientError | SpeechError) else None


def data_folder(path: str | Path) -> Path:
    """Make the folder for results if need be. Raises click.ClickException."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{folder}: cannot be made: {error.strerror}") from error
    return folder
