"""`chorus score der`: who spoke when, against the truth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speech.errors import BadRttm
from speech.rttm import RttmTurn, read_rttm

if TYPE_CHECKING:
    from speech.diarization.der import DiarizationErrors, Key

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("reference", metavar="REF", type=_FILE)
@click.argument("hypothesis", metavar="HYP", type=_FILE)
@click.option(
    "--collar",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    help="Seconds on both sides of a reference turn's begin and end that are not scored; often 0.25.",
)
@click.option("--skip-overlap", is_flag=True, help="Do not score where several reference speakers talk (md-eval's -1).")
@click.option("--details", is_flag=True, help="Print each file's numbers, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def der(reference: Path, hypothesis: Path, collar: float, skip_overlap: bool, details: bool, as_json: bool) -> None:
    """Print the diarization error rate of HYP against REF: RTTM files, scored as NIST's md-eval.pl does."""
    from speech.diarization.der import score_diarization, total  # scipy takes a moment to load

    truth, found = _read(reference), _read(hypothesis)
    if not truth:
        raise click.ClickException(f"{reference} holds no turns")
    scores = score_diarization(truth, found, collar_s=collar, ignores_overlap=skip_overlap)
    _warn(scores, found, hypothesis)
    if as_json:
        files = [{"file": file, "channel": channel, **_numbers(errors)} for (file, channel), errors in scores.items()]
        document = {**_numbers(total(scores)), "files": files if details else len(files)}
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    if details:
        for (file, channel), errors in scores.items():
            click.echo(f"{file} {channel}  {_summary(errors)}")
    click.echo(_summary(total(scores)))


def _read(path: Path) -> list[RttmTurn]:
    try:
        return read_rttm(path.read_text(encoding="utf-8"), str(path))
    except (BadRttm, UnicodeDecodeError) as error:
        raise click.ClickException(f"{error}" if isinstance(error, BadRttm) else f"{path} is not text") from error


def _warn(scores: dict[Key, DiarizationErrors], found: Iterable[RttmTurn], path: Path) -> None:
    keys = {(turn.file, turn.channel.lower()) for turn in found}
    if missing := [key for key in scores if key not in keys]:
        click.echo(f"warning: {len(missing)} of {len(scores)} files not in {path}: {missing[0][0]}, ...", err=True)
    if extra := sorted(keys - scores.keys()):
        click.echo(f"warning: {len(extra)} files without a reference are not scored: {extra[0][0]}, ...", err=True)


def _summary(errors: DiarizationErrors) -> str:
    parts = (("missed", errors.missed_s), ("false alarm", errors.false_alarm_s), ("confused", errors.confused_s))
    shares = ", ".join(f"{name} {100 * seconds / max(errors.scored_s, 1e-9):.2f} %" for name, seconds in parts)
    return f"DER {100 * errors.rate:.2f} % [ {shares} of {errors.scored_s:.2f} s ]"


def _numbers(errors: DiarizationErrors) -> dict[str, Any]:
    return {
        # JSON has no infinity.
        "rate": errors.rate if errors.scored_s else None,
        "scored_s": round(errors.scored_s, 6),
        "missed_s": round(errors.missed_s, 6),
        "false_alarm_s": round(errors.false_alarm_s, 6),
        "confused_s": round(errors.confused_s, 6),
    }
