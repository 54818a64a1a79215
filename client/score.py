"""`chorus score`: transcripts in Kaldi's `id text` form against what was said."""

import json
from pathlib import Path
from typing import Any

import click

from client.compare import Comparison, compare, counts_text
from client.errors import BadList
from client.lists import read_texts
from client.score_der import der
from client.speaker.score import sv
from speech.scoring import ErrorCounts

_FILE = click.Path(dir_okay=False, path_type=Path)
_MAX_NAMED = 5


@click.group()
def score() -> None:
    """Compare results with the truth: words, speakers."""


score.add_command(der)
score.add_command(sv)


@score.command()
@click.argument("reference", metavar="REF", type=_FILE)
@click.argument("hypothesis", metavar="HYP", type=_FILE)
@click.option("--cer", is_flag=True, help="Count characters instead of words; white space does not count.")
@click.option("--normalise", is_flag=True, help="Compare without case and punctuation.")
@click.option(
    "--missing",
    type=click.Choice(["deleted", "ignored", "refused"]),
    default="deleted",
    show_default=True,
    help="What a reference without a transcript counts as.",
)
@click.option("--details", is_flag=True, help="Print the alignment of each utterance, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def wer(
    reference: Path, hypothesis: Path, cer: bool, normalise: bool, missing: str, details: bool, as_json: bool
) -> None:
    """Print the word error rate of HYP against REF: files of `id text` lines, cut at the first space or tab."""
    try:
        references, transcripts = read_texts(reference), read_texts(hypothesis)
    except BadList as error:
        raise click.ClickException(str(error)) from error
    if not references:
        raise click.ClickException(f"{reference} holds no references")
    comparison = compare(
        references, transcripts, by_character=cer, normalise=normalise, ignore_missing=missing == "ignored"
    )
    if not comparison.ids or (len(comparison.missing) == len(references) and comparison.extra):
        raise click.ClickException(f"{reference} and {hypothesis} have no id in common")
    if comparison.missing and missing == "refused":
        raise click.ClickException(f"{_named(comparison.missing)} of {reference} not in {hypothesis}")
    _warn(comparison, missing)
    if as_json:
        click.echo(json.dumps(_document(comparison, details), ensure_ascii=False))
        return
    if details:
        for key, pair in comparison.pairs.items():
            click.echo(f"{key}  {counts_text(pair.counts)}\n{pair.alignment}\n")
    click.echo(comparison.summary())


def _warn(comparison: Comparison, missing: str) -> None:
    if comparison.missing:
        click.echo(f"warning: {_named(comparison.missing)} without a transcript: {missing}", err=True)
    if comparison.extra:
        click.echo(f"warning: {_named(comparison.extra)} without a reference: not counted", err=True)


def _named(ids: tuple[str, ...]) -> str:
    """Say how many ids there are, and the first ones."""
    more = ", ..." if len(ids) > _MAX_NAMED else ""
    return f"{len(ids)} {'id' if len(ids) == 1 else 'ids'} ({', '.join(ids[:_MAX_NAMED])}{more})"


def _document(comparison: Comparison, details: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "measure": comparison.measure,
        **_numbers(comparison.scores.total),
        "utterances": len(comparison.ids),
        "missing": list(comparison.missing),
        "extra": list(comparison.extra),
    }
    if details:
        document["details"] = [
            {"id": key, **_numbers(pair.counts), "alignment": pair.alignment} for key, pair in comparison.pairs.items()
        ]
    return document


def _numbers(counts: ErrorCounts) -> dict[str, float | int | None]:
    return {
        # JSON has no infinity: null where words were inserted into nothing.
        "rate": counts.rate if counts.reference_length or not counts.errors else None,
        "errors": counts.errors,
        "reference_length": counts.reference_length,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
    }
