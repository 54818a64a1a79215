"""`chorus score sv`: trials of speaker verification to EER and minDCF."""

import json
from pathlib import Path

import click
import numpy as np

from client.speaker.archive import load
from client.speaker.options import plain_errors
from client.speaker.trials import DECIMALS, Trial, read_mean, read_trials, score_trials
from speech.verification.cohort import DEFAULT_TOP_N
from speech.verification.metrics import DetectionCost, error_curve

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--trials", "trials_file", required=True, type=_FILE, help="`enrolment test [target|nontarget]` lines.")
@click.option("--enroll", required=True, type=_FILE, help="Kaldi list of vectors: xvector.scp.")
@click.option("--test", "test_scp", type=_FILE, help="Vectors of the test side. Default: those of --enroll.")
@click.option("--cal-mean", type=click.Path(path_type=Path), help="Subtract this mean: a folder, .scp or .npy.")
@click.option("--cohort", type=_FILE, help="Vectors of other speakers: scores are normalised by them (AS-norm).")
@click.option(
    "--top-n", type=click.IntRange(min=2), default=DEFAULT_TOP_N, show_default=True, help="Of the cohort, the closest."
)
@click.option("--scores", "scores_file", type=_FILE, help="Write `enrolment test score [label]` lines here.")
@click.option("--p-target", default=0.01, show_default=True)
@click.option("--c-miss", default=1.0, show_default=True)
@click.option("--c-fa", default=1.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plain_errors
def sv(
    trials_file: Path,
    enroll: Path,
    test_scp: Path | None,
    cal_mean: Path | None,
    cohort: Path | None,
    top_n: int,
    scores_file: Path | None,
    p_target: float,
    c_miss: float,
    c_fa: float,
    as_json: bool,
) -> None:
    """Print EER and minDCF of speaker verification, computed as WeSpeaker does; without labels write scores alone."""
    cost = DetectionCost(p_target, c_miss, c_fa)
    trials = read_trials(trials_file)
    enrolment = load(enroll)
    test = load(test_scp) if test_scp else enrolment
    mean = read_mean(cal_mean) if cal_mean else None
    others = list(load(cohort).values()) if cohort else []
    scores = np.round(score_trials(trials, enrolment, test, mean, others, min(top_n, len(others))), DECIMALS)
    if scores_file:
        lines = (_line(trial, score) for trial, score in zip(trials, scores.tolist(), strict=True))
        scores_file.write_text("".join(lines), encoding="utf-8")
    labels = [trial.is_target for trial in trials]
    known = [label for label in labels if label is not None]
    if len(known) < len(labels):
        if not scores_file:
            raise click.UsageError(f"{len(labels) - len(known)} trials have no label: only --scores can be written")
        return
    curve = error_curve(scores, known)
    (eer, eer_threshold), (dcf, dcf_threshold) = curve.eer(), curve.min_dcf(cost)
    if as_json:
        document = {
            "trials": len(trials),
            "targets": sum(known),
            "eer": eer,
            "eer_threshold": eer_threshold,
            "min_dcf": dcf,
            "min_dcf_threshold": dcf_threshold,
        }
        click.echo(json.dumps(document))
        return
    click.echo(f"---- {trials_file.name} -----")
    click.echo(f"EER = {100 * eer:.3f}")
    click.echo(f"minDCF (p_target:{p_target:g} c_miss:{c_miss:g} c_fa:{c_fa:g}) = {dcf:.3f}")
    click.echo(
        f"{len(trials)} trials, {sum(known)} target; threshold {eer_threshold:.5f} at the EER, {dcf_threshold:.5f} at "
        f"minDCF"
    )


def _line(trial: Trial, score: float) -> str:
    label = {True: " target", False: " nontarget", None: ""}[trial.is_target]
    return f"{trial.enrolment} {trial.test} {score:.{DECIMALS}f}{label}\n"
