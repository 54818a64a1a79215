"""`chorus serve` and `chorus models`: flags to settings, errors to one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import click

from server.errors import ServerError, first_cause
from server.pull_cli import list_models, pull

P = ParamSpec("P")


def _plain_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Show expected errors as one line and exit with 1; anything else keeps its traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        from engines.errors import EngineError

        try:
            command(*args, **kwargs)
        except (ServerError, EngineError, ExceptionGroup) as error:
            cause = first_cause(error)
            if isinstance(cause, ServerError | EngineError):
                raise click.ClickException(str(cause)) from error
            raise

    return wrapped


@click.command()
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (default 8001; 0 takes a free one).")
@click.option("--models", help="Folders or names of models, by commas (default: the embedded and the fetched ones).")
@click.option("--lm", help="Language model for the models that it fits: .arpa, .arpa.gz or a KenLM binary.")
@click.option("--lodr", help="Token bigram that requests may have subtracted from the language model's scores.")
@click.option("--hotword-lists", help="Folder of hotword lists, NAME.txt each, that requests may name.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file with any of the settings.")
@click.option("--metrics-port", type=int, help="Serve Prometheus numbers on this port (default: off).")
@click.option("--threads", type=int, help="Threads of one engine step (default: all usable processors).")
@click.option("--max-streams", type=int, help="Streams at once (default 256).")
@click.option(
    "--event-loop", type=click.Choice(["auto", "uvloop", "asyncio"]), help="Default auto: uvloop where it is installed."
)
@click.option("--gallery", help="SQLite file of enrolled speakers (default: in the user's data folder; '' for none).")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Default info.")
@_plain_errors
def serve(
    host: str | None,
    port: int | None,
    models: str | None,
    lm: str | None,
    lodr: str | None,
    hotword_lists: str | None,
    config_file: Path | None,
    metrics_port: int | None,
    threads: int | None,
    max_streams: int | None,
    event_loop: str | None,
    gallery: str | None,
    log_level: str | None,
) -> None:
    """Serve speech recognition over gRPC until SIGTERM or Ctrl-C.

    Settings come from defaults, the --config file, CHORUS_ environment variables (CHORUS_LISTEN__PORT=9000) and flags;
    the later ones win.
    """
    from server.allocator import keep_freed_memory
    from server.config import load_config
    from server.log import configure_logging

    flags: dict[str, Any] = {
        "models": models,
        "lm": lm,
        "lodr": lodr,
        "event_loop": event_loop,
        "hotwords": {"folder": hotword_lists},
        "listen": {"host": host, "port": port},
        "engine": {"threads": threads},
        "streaming": {"max_streams": max_streams},
        "speaker": {"gallery": gallery},
        "metrics": {"port": metrics_port},
        "log": {"level": log_level},
    }
    config = load_config(config_file, overrides=flags)
    configure_logging(config.log)
    keep_freed_memory()
    from server.app import Server
    from server.app import serve as run
    from server.event_loop import run as run_on_loop

    def ready(server: Server) -> None:
        names = ", ".join(model.name for model in (*server.models, *server.speakers))
        print(f"chorus ready on {server.address} (models: {names})", flush=True)

    run_on_loop(run(config, ready), config.event_loop)


@click.group()
def models() -> None:
    """Look at model folders; fetch models by name."""


models.add_command(pull)
models.add_command(list_models)


@models.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the description as JSON.")
@click.option(
    "--lm",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also say whether this ARPA file or KenLM binary fits.",
)
@_plain_errors
def check(folder: Path, as_json: bool, lm: Path | None) -> None:
    """Say what a model folder is, and what is missing or contradictory. Exits with 1 if it cannot be served."""
    from engines.check import look_into
    from engines.errors import BadModel
    from engines.language_model import fit_report
    from server.models import find_models

    folders = find_models(folder)
    if not folders:
        raise BadModel(f"{folder}: no ONNX graph in it or in its folders")
    is_bad = False
    for each in folders:
        found = look_into(each)
        is_bad = is_bad or not found.is_usable
        print(found.json if as_json else found.text)
        if lm is not None and found.tokens_path is not None and not as_json:
            print(fit_report(lm, found.tokens_path))
    if is_bad:
        raise SystemExit(1)
