"""`chorus verify`, `enroll`, `identify` and `speakers`: questions about voices, answered in a line or two."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from client import options as opts
from client.speaker import options as speaker_opts
from client.speaker.sync import SpeakerClient
from client.speaker.values import Cohort, Embedding, Enrolled, Voice

ENROLLED = "speaker:"
_THRESHOLD = click.option(
    "--threshold", type=float, help="Score from which it counts as the same. Default: the model's."
)
_COHORT = click.option("--cohort", metavar="GALLERY", help="Normalise scores by these speakers (AS-norm).")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@_THRESHOLD
@_COHORT
@speaker_opts.gallery_options
@speaker_opts.voice_options
@opts.server_options
@_JSON
@speaker_opts.plain_errors
def verify(first: str, second: str, threshold: float | None, cohort: str | None, as_json: bool, **options: Any) -> None:
    """Say whether A and B are one speaker: files, or `speaker:ID` for somebody enrolled. Prints score and decision."""
    config = speaker_opts.voice_config(options)
    voices = [_voice(text, options["gallery"]) for text in (first, second)]
    with _client(options) as client:
        answer = client.verify(voices[0], voices[1], config, threshold=threshold, cohort=_cohort(cohort))
    verdict = {True: "same speaker", False: "different speakers", None: "undecided: a cohort needs --threshold"}
    if as_json:
        document = {
            "score": answer.score,
            "normalized": answer.normalized,
            "threshold": answer.threshold,
            "is_same": answer.is_same,
            "model": answer.model,
        }
        click.echo(json.dumps(document))
        return
    normalised = "" if answer.normalized is None else f"  normalised {answer.normalized:.4f}"
    limit = "" if answer.threshold is None else f"  threshold {answer.threshold:g}"
    click.echo(f"{verdict[answer.is_same]}  score {answer.score:.4f}{normalised}{limit}")
    for name, side in ((first, answer.enrolment), (second, answer.test)):
        _warn(name, side)


@click.command()
@click.argument("speaker_id", metavar="SPEAKER")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--replace", is_flag=True, help="Forget the speaker's earlier voices.")
@click.option("--min-consistency", type=click.FloatRange(-1, 1), help="Refuse voices less alike than this cosine.")
@speaker_opts.gallery_options
@speaker_opts.voice_options
@opts.server_options
@speaker_opts.plain_errors
def enroll(
    speaker_id: str, files: tuple[str, ...], replace: bool, min_consistency: float | None, **options: Any
) -> None:
    """Add the voices in FILE... to SPEAKER, who begins with the first one."""
    config = speaker_opts.voice_config(options)
    with _client(options) as client:
        answer = client.enroll(
            Enrolled(speaker_id, options["gallery"]), files, config, replace=replace, min_consistency=min_consistency
        )
    speaker = answer.speaker
    click.echo(
        f"{speaker.speaker_id}  {speaker.num_voices} voices, {speaker.speech_s:.1f} s, consistency "
        f"{answer.consistency:.3f}, gallery {speaker.gallery}, model {speaker.model}"
    )
    for name, voice in zip(files, answer.voices, strict=True):
        _warn(name, voice)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--top", type=click.IntRange(1, 1000), default=3, show_default=True, help="Candidates to print.")
@_THRESHOLD
@_COHORT
@speaker_opts.gallery_options
@speaker_opts.voice_options
@opts.server_options
@speaker_opts.plain_errors
def identify(files: tuple[str, ...], top: int, threshold: float | None, cohort: str | None, **options: Any) -> None:
    """Print who of the gallery speaks in each FILE: the file, the name or `-`, and the closest with their scores."""
    config = speaker_opts.voice_config(options)
    with _client(options) as client:
        for name in files:
            answer = client.identify(
                name, config, gallery=options["gallery"], count=top, threshold=threshold, cohort=_cohort(cohort)
            )
            closest = " ".join(f"{each.speaker_id}={_decisive(each):.4f}" for each in answer.candidates)
            click.echo(f"{name}\t{answer.speaker_id or '-'}\t{closest}")
            _warn(name, answer.voice)


@click.command()
@click.option("--delete", metavar="SPEAKER", help="Forget this one.")
@speaker_opts.gallery_options
@opts.server_options
@speaker_opts.plain_errors
def speakers(delete: str | None, **options: Any) -> None:
    """List who is enrolled: id, voices, seconds of speech, model."""
    with _client(options) as client:
        if delete:
            count = client.delete(Enrolled(delete, options["gallery"]))
            click.echo(f"{delete}: {count} voices forgotten")
            return
        for each in client.speakers(options["gallery"]):
            click.echo(f"{each.speaker_id}\t{each.num_voices}\t{each.speech_s:.1f}\t{each.model}")


@contextmanager
def _client(options: dict[str, Any]) -> Iterator[SpeakerClient]:
    settings = speaker_opts.client_settings(options)
    with speaker_opts.server_address(options) as address, SpeakerClient(address, **settings) as client:
        yield client


def _voice(text: str, gallery: str) -> Voice:
    return Enrolled(text.removeprefix(ENROLLED), gallery) if text.startswith(ENROLLED) else text


def _cohort(gallery: str | None) -> Cohort | None:
    return Cohort(gallery=gallery) if gallery else None


def _decisive(candidate: Any) -> float:
    return float(candidate.score if candidate.normalized is None else candidate.normalized)


def _warn(name: str, voice: Embedding | None) -> None:
    """Say on standard error what makes an answer doubtful."""
    if voice is not None and voice.quality.level == "poor":
        quality = voice.quality
        click.echo(
            f"warning: {name}: poor audio ({voice.speech_s:.1f} s of speech, {quality.snr_db:.0f} dB over its quiet "
            f"parts, {100 * quality.clipped_share:.0f} % clipped): do not trust the answer",
            err=True,
        )
