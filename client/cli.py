"""The command `chorus`: finds its subcommands by entry points and loads the one that is called, no other.

That keeps client and server from importing each other, and `chorus --help` quick.
"""

from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

import click

GROUP = "chorus.commands"

# For `chorus --help`, so that listing the commands imports none of them.
_SUMMARIES = {
    "bench": "Load a server with streams and measure it.",
    "diarize": "Say who spoke when in recordings.",
    "embed": "Turn recordings into speaker vectors.",
    "enroll": "Add voices to a speaker of the gallery.",
    "identify": "Find out who of the gallery speaks.",
    "models": "Look into model folders.",
    "score": "Compare results with the truth: words, speakers.",
    "serve": "Run the server.",
    "speakers": "List or forget who is enrolled.",
    "transcribe": "Turn recordings or the microphone into text.",
    "verify": "Say whether two recordings are of one speaker.",
}


class EntryPointGroup(click.Group):
    """A group whose commands are the entry points of `chorus.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_found())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        point = _found().get(name)
        if point is None:
            return None
        try:
            command = point.load()
        except Exception as error:
            raise click.ClickException(
                f"the command {name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(command, click.Command):
            raise click.ClickException(f"the command {name!r} ({point.value}) is a {type(command).__name__}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        points = _found()
        rows = [(name, _SUMMARIES.get(name, points[name].value)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _print_version(ctx: click.Context, option: click.Parameter, is_set: bool) -> None:
    if is_set and not ctx.resilient_parsing:
        try:
            click.echo(f"chorus {version('chorus')}")
        except PackageNotFoundError:
            click.echo("chorus, not installed")
        ctx.exit()


@click.group(cls=EntryPointGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def group() -> None:
    """Speech to text, served by yourself."""


def main(**options: Any) -> None:
    """Run the command line: the console script `chorus`."""
    group(**options)


if __name__ == "__main__":
    main()
