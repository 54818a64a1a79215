"""`python -m client.demo`: streams the bundled recordings to a server of its own and shows what comes back.

Then who speaks and who spoke when, where the speaker models are there or can be fetched (`--no-fetch` does not try).

Exit status 0 means that every recording gave text and that the word error rate is sane.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from client.client import AsyncClient
from client.compare import Comparison, compare
from client.config import Config, LanguageModel
from client.demo_speakers import show_speakers
from client.display import growing_line
from client.embedded import EmbeddedServer
from client.errors import ClientError
from client.results import StreamResult, Transcript, Update, transcript
from client.sources import PcmFile, paced
from speech.errors import SpeechError

PACE = 4.0
# Nobody should have to wait longer than this for the recordings: more audio is sent faster.
MOST_SECONDS = 5.0
# What the demo shows: other models that come with Chorus would only lengthen its start.
MODELS = "english-u2pp,fetched"
# Far above what the embedded model does; beyond it something is broken.
SANE_RATE = 0.60
# Chosen on the recordings of recipes.tuning: docs/benchmarks.md.
LANGUAGE_MODEL = LanguageModel(weight=0.5, bonus=1.5)


@dataclass(frozen=True, slots=True)
class Sample:
    """One bundled recording and what is said in it."""

    id: str
    path: Path
    text: str


class GrowingText:
    """Shows a stream's text as it grows: in place on a terminal, else a line for each change. Use in `with`."""

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._finals: list[str] = []
        self._last = ""
        self._live = Live(console=console, transient=True, refresh_per_second=15) if console.is_terminal else None

    def __enter__(self) -> "GrowingText":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, result: StreamResult) -> None:
        if result.is_final:
            self._finals.append(result.text)
        line = growing_line(self._label, self._finals, "" if result.is_final else result.text, self._console.width)
        if self._live:
            self._live.update(line)
        elif line.plain != self._last:
            seconds = result.audio_processed_ms / 1000
            self._console.print(Text.assemble((f"{seconds:6.2f} s  ", "dim"), line), soft_wrap=True)
        self._last = line.plain


def main() -> int:
    """Run the demo and give the exit status."""
    console = Console(highlight=False)
    try:
        with bundled_samples() as samples, _server(console) as server:
            status = asyncio.run(_show(console, server.address, samples))
            asyncio.run(show_speakers(console, server.address, fetches="--no-fetch" not in sys.argv))
            return status
    except (ClientError, SpeechError, OSError) as error:
        Console(stderr=True).print(f"The demo failed: {error}", style="bold", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


@contextmanager
def bundled_samples() -> Iterator[list[Sample]]:
    """Give the recordings listed in models/demo/demo.tsv (`file<TAB>TEXT`) as files. Raises OSError."""
    with resources.as_file(resources.files("models") / "demo") as folder:
        rows = (folder / "demo.tsv").read_text(encoding="utf-8").splitlines()
        pairs = [row.split("\t", 1) for row in rows if row.strip()]
        yield [Sample(Path(name).stem, folder / name, text.strip()) for name, text in pairs]


@contextmanager
def _server(console: Console) -> Iterator[EmbeddedServer]:
    began = time.monotonic()
    with ExitStack() as stack:
        lm = stack.enter_context(resources.as_file(resources.files("models") / "english-lm" / "lm.arpa.gz"))
        server = EmbeddedServer(MODELS, arguments=["--lm", str(lm)])
        stack.callback(server.close)
        with console.status("Starting the server") if console.is_terminal else nullcontext():
            server.__enter__()
        console.print(f"Server ready on {server.address} after {time.monotonic() - began:.1f} s.", style="dim")
        yield server


async def _show(console: Console, address: str, samples: list[Sample]) -> int:
    pace = max(PACE, await asyncio.to_thread(_total_seconds, samples) / MOST_SECONDS)
    async with AsyncClient(address, timeout_s=60) as client:
        default = next(model for model in await client.models() if model.is_default)
        console.print(
            f"Streaming {len(samples)} recordings to the model [bold]{default.name}[/bold], {pace:.1f} times as fast "
            f"as they were spoken; it takes {default.chunk_ms} ms of audio a step.\n"
        )
        config = Config(language_model=LANGUAGE_MODEL if default.has_language_model else None)
        streamed = {sample.id: await _stream(console, client, sample, pace, config) for sample in samples}
        began = time.monotonic()
        whole = {sample.id: await client.recognize(sample.path, config) for sample in samples}
        took_s = time.monotonic() - began
    console.print(f"The same recordings whole, in {took_s:.1f} s:", style="bold")
    for sample in samples:
        console.print(Text.assemble((f"{sample.id}  ", "bold"), whole[sample.id].text), soft_wrap=True)
    streaming, offline = _compared(samples, streamed), _compared(samples, whole)
    console.print()
    console.print(f"Streaming  {streaming.summary()}", markup=False)
    console.print(f"Offline    {offline.summary()}", markup=False)
    return _status(console, [streaming, offline], [*streamed.values(), *whole.values()])


async def _stream(console: Console, client: AsyncClient, sample: Sample, pace: float, config: Config) -> Transcript:
    """Stream one recording, let its text grow on the screen, and print what became of it."""
    updates: list[Update] = []
    with PcmFile(sample.path) as pcm, GrowingText(console, sample.id) as text:
        config = replace(
            config, encoding="linear16", sample_rate=pcm.sample_rate, channels=pcm.channels, word_times=True
        )
        audio = paced(iter(pcm), pcm.bytes_per_second, pace)
        async with aclosing(client.stream(audio, config)) as stream:
            async for update in stream:
                updates.append(update)
                if isinstance(update, StreamResult):
                    text.show(update)
    result = transcript(updates)
    console.print(Text.assemble((f"{sample.id}  ", "bold"), result.text), soft_wrap=True)
    console.print(f"said: {sample.text}", style="dim", markup=False, soft_wrap=True)
    console.print(_word_times(result, console.width))
    console.print()
    return result


def _word_times(result: Transcript, width: int) -> Table:
    """Words over the seconds they begin at, as many a row as fit."""
    words = [word for segment in result.results for word in segment.words]
    # A word's column takes its width or that of its time ("12.34"), and the padding.
    widest = max([5, *(len(word.text) for word in words)]) + 2
    columns = max(1, min(len(words), width // widest))
    table = Table.grid(padding=(0, 2, 0, 0))
    for start in range(0, len(words), columns):
        row = words[start : start + columns]
        table.add_row(*(word.text for word in row))
        table.add_row(*(Text(f"{word.start_ms / 1000:.2f}", style="dim") for word in row))
    return table


def _total_seconds(samples: list[Sample]) -> float:
    total = 0.0
    for sample in samples:
        with PcmFile(sample.path) as pcm:
            total += sum(map(len, pcm)) / pcm.bytes_per_second
    return total


def _compared(samples: list[Sample], results: dict[str, Transcript]) -> Comparison:
    texts = {key: result.text for key, result in results.items()}
    return compare({sample.id: sample.text for sample in samples}, texts, normalise=True)


def _status(console: Console, comparisons: list[Comparison], results: list[Transcript]) -> int:
    if not all(result.text for result in results):
        console.print("A recording gave no text at all: something is broken.", style="bold")
        return 1
    if any(comparison.scores.total.rate > SANE_RATE for comparison in comparisons):
        console.print(f"More than {SANE_RATE:.0%} of the words are wrong: something is broken.", style="bold")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
