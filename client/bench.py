"""`chorus bench`: load a server with paced streams and print what its clients see."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from client.load import RATE, LoadOptions, LoadReport, run_load
from speech.audio import Encoding
from speech.containers import decode
from speech.resample import Resampler


def linear16(path: Path) -> bytes:
    """A recording as LINEAR16 at 16 kHz, channels averaged."""
    parts: list[np.ndarray] = []
    resampler: Resampler | None = None
    with path.open("rb") as file:
        for block in decode(file, Encoding.AUTO):
            resampler = resampler or Resampler(block.sample_rate, RATE, 1)
            parts.append(resampler.push(block.samples.mean(axis=0, keepdims=True)))
    if resampler is None:
        return b""
    samples = np.concatenate([*parts, resampler.flush()], axis=1)[0]
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--server", "address", default="127.0.0.1:8001", show_default=True, help="Server to load: one you may load."
)
@click.option("--streams", default=8, show_default=True, help="Streams at once, always busy.")
@click.option("--seconds", default=20.0, show_default=True, help="No new call starts after so long.")
@click.option("--packet-ms", default=100, show_default=True, help="Audio per message.")
@click.option("--pace", default=1.0, show_default=True, help="1: as spoken; 2: twice as fast; 0: as fast as it goes.")
@click.option(
    "--method", default="DECODING_METHOD_UNSPECIFIED", help="CTC_GREEDY, GREEDY_SEARCH and so on, as in the proto."
)
@click.option("--model", default="", help="Model name; empty: the server's default.")
@click.option("--connections", default=1, show_default=True, help="HTTP/2 connections to spread the streams over.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(
    files: tuple[Path, ...],
    address: str,
    streams: int,
    seconds: float,
    packet_ms: int,
    pace: float,
    method: str,
    model: str,
    connections: int,
    as_json: bool,
) -> None:
    """Stream FILES over and over, and print throughput and latency percentiles."""
    recordings = [linear16(path) for path in files]
    options = LoadOptions(address, streams, seconds, packet_ms, pace, method.upper(), model, connections)
    report = asyncio.run(run_load(options, recordings))
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        _show(report)
    if set(report.ends) != {"OK"}:
        raise SystemExit(1)


def _show(report: LoadReport) -> None:
    table = Table("latency, ms", "p50", "p95", "p99", "count", title=f"{report.throughput:.1f} s of audio per second")
    for name, row in report.percentiles().items():
        table.add_row(name.replace("_", " "), *(str(row.get(key, "-")) for key in ("p50", "p95", "p99", "count")))
    console = Console()
    console.print(table)
    console.print(f"{report.calls} calls: {report.ends}, {report.audio_s:.0f} s of audio in {report.wall_s:.1f} s")
