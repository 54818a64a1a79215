"""What a person at a terminal sees while `chorus transcribe` works: a progress bar and the texts as they grow.

All of it goes to standard error, and only to a terminal; standard output carries the transcripts.
"""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from client.jobs import Outcome
from client.lists import Recording
from client.results import StreamResult, join_texts

# Rows of growing text shown at once; more would push the bar off a small terminal.
_MAX_ROWS = 6


class Display:
    """Shows the work while it is entered. `sent` may be called from any thread, all else from one."""

    def __init__(self, num_recordings: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._finals: dict[str, list[str]] = {}
        self._partials: dict[str, str] = {}
        self._shares: dict[str, float] = {}
        self._num_done = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn() if num_recordings > 1 else TextColumn(""),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._num_recordings = num_recordings
        self._task = self._progress.add_task("Recognising", total=num_recordings)
        # transient: what stays on the terminal are the transcripts.
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @property
    def is_live(self) -> bool:
        return self._console.is_terminal

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def sent(self, recording: Recording, share: float) -> None:
        self._shares[recording.id] = share

    def heard(self, recording: Recording, result: StreamResult) -> None:
        label = f"{recording.id}[{result.channel}]" if result.channel else recording.id
        if result.is_final:
            self._finals.setdefault(label, []).append(result.text)
            self._partials.pop(label, None)
        else:
            self._partials[label] = result.text

    def finished(self, outcome: Outcome) -> None:
        self._num_done += 1
        done = outcome.recording.id
        self._shares.pop(done, None)
        for texts in (self._finals, self._partials):
            for label in [label for label in texts if label == done or label.startswith(f"{done}[")]:
                del texts[label]

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print to standard output, with the live part out of the way where both share the terminal."""
        is_shared = self.is_live and sys.stdout.isatty()
        if is_shared:
            self._live.stop()
        for line in lines:
            click.echo(line)
        if is_shared:
            self._start()

    def print_problem(self, line: str) -> None:
        """Print to standard error, above the live part."""
        if self.is_live:
            self._live.stop()
        click.echo(line, err=True)
        if self.is_live:
            self._start()

    def _start(self) -> None:
        if self.is_live:
            self._live.start()

    def _render(self) -> RenderableType:
        completed = self._num_done + sum(tuple(self._shares.values()))
        self._progress.update(self._task, completed=min(completed, self._num_recordings))
        labels = list(dict.fromkeys((*self._finals, *self._partials)))[:_MAX_ROWS]
        rows = [
            growing_line(label, self._finals.get(label, ()), self._partials.get(label, ""), self._console.width)
            for label in labels
        ]
        return Group(*rows, self._progress)


def growing_line(label: str, finals: Iterable[str], partial: str, width: int) -> Text:
    """One row: what is final in plain, what may change dimmed; of a text too long for the row its end."""
    settled = join_texts(finals)
    whole = join_texts([settled, partial])
    hidden = max(0, len(whole) - max(20, width - len(label) - 4))
    return Text.assemble(
        (f"{label}  ", "bold"),
        "…" if hidden else "",
        whole[hidden : max(hidden, len(settled))],
        (whole[max(hidden, len(settled)) :], "dim"),
        no_wrap=True,
    )
