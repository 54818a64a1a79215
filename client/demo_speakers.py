"""The demo's second part: whose voice is it, and who spoke when, where the speaker models are there or can be fetched.

What cannot be shown is said, and does not make the demo fail: those models are not bundled.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from client.embedded import EmbeddedServer
from client.errors import ClientError
from client.speaker.client import AsyncSpeakerClient
from client.speaker.diarization import AsyncDiarizationClient, Diarization, Turn
from client.speaker.timeline import draw, read_envelope
from client.speaker.values import VoiceConfig
from speech.rttm import RttmTurn, read_rttm

MODELS = ("campplus", "silero-vad", "pyannote-segmentation")
FETCH_TIMEOUT_S = 300
PICTURE = Path("dialogue.png")
COLOURS = ("blue", "yellow", "green", "magenta")
Start = Callable[[str], EmbeddedServer]


async def show_speakers(
    console: Console, address: str, *, fetches: bool, start: Start = EmbeddedServer, picture: Path = PICTURE
) -> None:
    """Show the second part by the server at `address`, or by one of its own with models fetched first."""
    console.print("\nWho speaks, and who spoke when:", style="bold")
    if await _has_speakers(address):
        await _show(console, address, picture)
    elif fetches and fetch(console):
        with start(",".join(MODELS)) as server:
            await _show(console, server.address, picture)
    else:
        console.print(
            f"Left out: no speaker models here. `chorus models pull {' '.join(MODELS)}` fetches them (92 MB, once).",
            markup=False,
        )


def fetch(console: Console, command: Sequence[str] = (sys.executable, "-m", "server", "models", "pull")) -> bool:
    """Fetch the speaker models as a user would; False, and why, where that fails."""
    console.print("Fetching the speaker models, once.", style="dim")
    try:
        done = subprocess.run(  # noqa: S603 -- our own command
            [*command, *MODELS], capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        console.print(f"They could not be fetched: {error}", style="dim", markup=False)
        return False
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        console.print(f"They could not be fetched: {reason}", style="dim", markup=False, soft_wrap=True)
    return done.returncode == 0


async def _has_speakers(address: str) -> bool:
    async with AsyncSpeakerClient(address, timeout_s=60) as client:
        return any(model.has_vad for model in await client.models())


async def _show(console: Console, address: str, picture: Path) -> None:
    with dialogue() as (path, truth):
        await _compare(console, address, path, truth)
        async with AsyncDiarizationClient(address, timeout_s=120) as client:
            found = await client.diarize(path)
        _print_timeline(console, found, path, truth)
        names = [speaker.name for speaker in found.speakers]
        try:
            draw(picture, found.turns, names, *read_envelope(path), "dialogue.ogg")
        except (ClientError, OSError) as error:
            console.print(f"No picture: {error}", style="dim", markup=False)
        else:
            console.print(f"The same as a picture: {picture}", style="dim", markup=False)


@contextmanager
def dialogue() -> Iterator[tuple[Path, list[RttmTurn]]]:
    """Give the bundled conversation as a file, and who really spoke when."""
    with resources.as_file(resources.files("models") / "demo" / "dialogue") as folder:
        yield folder / "dialogue.ogg", read_rttm((folder / "dialogue.rttm").read_text(encoding="utf-8"))


async def _compare(console: Console, address: str, path: Path, truth: list[RttmTurn]) -> None:
    """Two turns of one voice, and one of the other, as vectors."""
    one = [turn for turn in truth if turn.speaker == truth[0].speaker]
    other = next(turn for turn in truth if turn.speaker != truth[0].speaker)
    async with AsyncSpeakerClient(address, timeout_s=60) as client:
        vectors = []
        for turn in (*one[:2], other):
            part = VoiceConfig(start_ms=round(turn.begin_s * 1000), end_ms=round(turn.end_s * 1000), normalize=True)
            vectors.append((await client.embed(path, part)).vector)
        model = next(model for model in await client.models() if model.is_default)
    same, different = (float(np.dot(vectors[0], vector)) for vector in vectors[1:])
    console.print(
        f"{one[0].speaker} and {one[0].speaker} again: cosine {same:.2f}; {one[0].speaker} and {other.speaker}: "
        f"{different:.2f}. Model {model.name}, {model.dimension} numbers a voice, one voice from {model.threshold:.2f}."
    )


def _print_timeline(console: Console, found: Diarization, path: Path, truth: list[RttmTurn]) -> None:
    console.print(f"{path.name}, {found.audio_s:.0f} s, {len(found.speakers)} voices found:")
    width = max(20, min(100, console.width - 12))
    for index, speaker in enumerate(found.speakers):
        own = [turn for turn in found.turns if turn.speaker == speaker.name]
        console.print(_row(speaker.name, own, found.audio_s, width, COLOURS[index % len(COLOURS)]))
    for name in dict.fromkeys(turn.speaker for turn in truth):
        own = [Turn(turn.begin_s, turn.end_s, name, 1.0, False) for turn in truth if turn.speaker == name]
        console.print(_row(f"really {name}"[:10], own, found.audio_s, width, "dim"))


def _row(label: str, turns: Sequence[Turn], audio_s: float, width: int, style: str) -> Text:
    cells = np.zeros(width, np.bool_)
    for turn in turns:
        cells[int(turn.begin_s / audio_s * width) : max(1, round(turn.end_s / audio_s * width))] = True
    return Text.assemble(f"{label:10s} ", ("".join("█" if cell else "·" for cell in cells), style), no_wrap=True)
