"""A picture of who spoke when: the waveform in the speakers' colours, and a row for each of them below it."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from client.errors import ClientError
from client.speaker.diarization import Turn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2400
QUIET = "#9aa0a6"
SHARED = "#202124"


class Envelope:
    """The least and largest sample of each of at most COLUMNS equal stretches, from audio of any length."""

    def __init__(self) -> None:
        self._low: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._high: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._rest: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._stretch = 64
        self.num_samples = 0

    def push(self, samples: npt.NDArray[np.float32]) -> None:
        """Take (n,) more samples."""
        self.num_samples += len(samples)
        held = np.concatenate([self._rest, samples])
        whole = len(held) // self._stretch * self._stretch
        rows = held[:whole].reshape(-1, self._stretch)
        self._rest = held[whole:]
        self._low = np.concatenate([self._low, rows.min(axis=1)]) if len(rows) else self._low
        self._high = np.concatenate([self._high, rows.max(axis=1)]) if len(rows) else self._high
        while len(self._low) > 2 * COLUMNS:
            self._halve()

    def columns(self, sample_rate: int) -> tuple[npt.NDArray[np.float64], ...]:
        """Times in seconds, least and largest samples, each (columns,)."""
        times = (np.arange(len(self._low)) + 0.5) * self._stretch / sample_rate
        return times, self._low.astype(np.float64), self._high.astype(np.float64)

    def _halve(self) -> None:
        """Join neighbours; an odd one goes back to wait, as samples that span the same."""
        if len(self._low) % 2:
            last = np.repeat([self._low[-1], self._high[-1]], self._stretch // 2)
            self._rest = np.concatenate([last.astype(np.float32), self._rest])
            self._low, self._high = self._low[:-1], self._high[:-1]
        self._low = np.minimum(self._low[::2], self._low[1::2])
        self._high = np.maximum(self._high[::2], self._high[1::2])
        self._stretch *= 2


def read_envelope(path: str | Path) -> tuple[Envelope, int]:
    """Read a recording's first channel; also its sample rate. Raises OSError, BadAudio; blocks."""
    from speech.audio import Encoding
    from speech.containers import decode

    envelope, rate = Envelope(), 16000
    with Path(path).open("rb") as file:
        for block in decode(file, Encoding.AUTO):
            rate = block.sample_rate
            envelope.push(block.samples[0])
    return envelope, rate


def draw(
    path: Path, turns: Sequence[Turn], speakers: Sequence[str], envelope: Envelope, sample_rate: int, title: str = ""
) -> None:
    """Write the picture, in the format of the file's suffix. Raises ClientError without matplotlib, OSError."""
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ClientError("pictures need matplotlib: pip install 'chorus[plot]'") from error
    palette = colormaps["tab10" if len(speakers) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    colours = {name: palette[index % len(palette)] for index, name in enumerate(speakers)}
    rows = max(1, len(speakers))
    figure = Figure(figsize=(12, 2.2 + 0.42 * rows), layout="constrained")
    wave, lanes = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 0.42 * rows])
    _draw_wave(wave, turns, colours, envelope, sample_rate)
    _draw_lanes(lanes, turns, list(speakers), colours)
    lanes.set_xlim(0, max(envelope.num_samples / sample_rate, 1e-3))
    wave.set_title(title, loc="left", fontsize=10)
    try:
        figure.savefig(path, dpi=110)
    except ValueError as error:
        raise ClientError(f"{path}: {error}") from error


def _draw_wave(
    axes: "Axes", turns: Sequence[Turn], colours: dict[str, Any], envelope: Envelope, sample_rate: int
) -> None:
    times, low, high = envelope.columns(sample_rate)
    axes.fill_between(times, low, high, color=QUIET, linewidth=0)
    for turn in turns:
        inside = (times >= turn.begin_s) & (times <= turn.end_s)
        axes.fill_between(times, low, high, where=inside.tolist(), color=colours[turn.speaker], linewidth=0)
    for begin_s, end_s in shared_spans(turns):
        inside = (times >= begin_s) & (times <= end_s)
        axes.fill_between(times, low, high, where=inside.tolist(), color=SHARED, linewidth=0)
    limit = max(0.05, float(np.abs([low, high]).max())) if len(times) else 1.0
    axes.set_ylim(-limit, limit)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_lanes(axes: "Axes", turns: Sequence[Turn], speakers: list[str], colours: dict[str, Any]) -> None:
    for row, name in enumerate(speakers):
        bars = [(turn.begin_s, turn.end_s - turn.begin_s) for turn in turns if turn.speaker == name]
        axes.broken_barh(bars, (row - 0.36, 0.72), facecolors=[colours[name]])
    for begin_s, end_s in shared_spans(turns):
        axes.axvspan(begin_s, end_s, color=SHARED, alpha=0.12, linewidth=0)
    axes.set_yticks(range(len(speakers)), speakers)
    axes.set_ylim(len(speakers) - 0.5 if speakers else 0.5, -0.5)
    axes.set_xlabel("seconds")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def shared_spans(turns: Sequence[Turn]) -> list[tuple[float, float]]:
    """Where two or more turns run at once, in order, joined where they touch."""
    edges = sorted([(turn.begin_s, 1) for turn in turns] + [(turn.end_s, -1) for turn in turns])
    spans: list[tuple[float, float]] = []
    running = 0
    for (at, change), (following, _) in pairwise(edges):
        running += change
        if running > 1 and following > at:
            if spans and spans[-1][1] == at:
                spans[-1] = (spans[-1][0], following)
            else:
                spans.append((at, following))
    return spans
