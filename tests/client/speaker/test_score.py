"""`chorus score sv` against the same numbers worked out another way, from the files alone."""

from __future__ import annotations

import json
from pathlib import Path

import kaldiio
import numpy as np
import pytest
from click.testing import CliRunner, Result

from client.score import score

SPEAKERS, VOICES, SIZE = 6, 5, 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Vectors with a common offset, which only a mean vector takes away; every pair of voices is a trial."""
    random = np.random.default_rng(7)
    offset = random.standard_normal(SIZE) * 3
    centres = random.standard_normal((SPEAKERS, SIZE))
    vectors = {
        f"s{speaker}-{voice}": (offset + centres[speaker] + random.standard_normal(SIZE) * 0.9).astype(np.float32)
        for speaker in range(SPEAKERS)
        for voice in range(VOICES)
    }
    for name, members in (("all", vectors), ("mean", dict(list(vectors.items())[::2]))):
        (tmp_path / name).mkdir()
        kaldiio.save_ark(str(tmp_path / name / "xvector.ark"), members, scp=str(tmp_path / name / "xvector.scp"))
    names = list(vectors)
    lines = [
        f"{first} {second} {'target' if first[:2] == second[:2] else 'nontarget'}\n"
        for index, first in enumerate(names)
        for second in names[index + 1 :]
    ]
    (tmp_path / "trials").write_text("".join(lines))
    return tmp_path


def run(folder: Path, *arguments: object) -> Result:
    fixed = ["sv", "--trials", folder / "trials", "--enroll", folder / "all" / "xvector.scp"]
    return CliRunner().invoke(score, [str(each) for each in (*fixed, *arguments)])


def scores_by_loop(folder: Path, centred: bool) -> tuple[np.ndarray, np.ndarray]:
    """Cosines rounded as in a score file, and labels: one pair at a time, in double precision."""
    vectors = {key: value.astype(float) for key, value in kaldiio.load_scp(str(folder / "all" / "xvector.scp")).items()}
    mean = np.zeros(SIZE)
    if centred:
        mean = np.mean(list(kaldiio.load_scp(str(folder / "mean" / "xvector.scp")).values()), axis=0)
    scores, labels = [], []
    for line in (folder / "trials").read_text().splitlines():
        first, second, label = line.split()
        left, right = vectors[first] - mean, vectors[second] - mean
        scores.append(float(f"{left @ right / np.sqrt(left @ left) / np.sqrt(right @ right):.5f}"))
        labels.append(label == "target")
    return np.array(scores), np.array(labels)


def rates_by_thresholds(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """EER and minDCF by trying every threshold: where miss and false alarm meet, and the least cost."""
    thresholds = np.concatenate([np.unique(scores), [2.0]])
    misses = np.array([(scores[labels] < each).mean() for each in thresholds])
    alarms = np.array([(scores[~labels] >= each).mean() for each in thresholds])
    after = int(np.flatnonzero(misses >= alarms)[0])
    gaps = (misses - alarms)[[after - 1, after]]
    share = -gaps[0] / (gaps[1] - gaps[0])
    eer = misses[after - 1] + share * (misses[after] - misses[after - 1])
    return float(eer), float((0.01 * misses + 0.99 * alarms).min() / 0.01)


@pytest.mark.parametrize("centred", [False, True])
def test_rates_are_those_of_trying_every_threshold(folder: Path, centred: bool) -> None:
    scores, labels = scores_by_loop(folder, centred)
    eer, dcf = rates_by_thresholds(scores, labels)
    assert 0 < eer < 0.5
    extra = ["--cal-mean", folder / "mean"] if centred else []
    result = run(folder, *extra, "--scores", folder / "out.score")
    assert result.stdout.splitlines()[:3] == [
        "---- trials -----",
        f"EER = {100 * eer:.3f}",
        f"minDCF (p_target:0.01 c_miss:1 c_fa:1) = {dcf:.3f}",
    ]
    written = [line.split() for line in (folder / "out.score").read_text().splitlines()]
    # Half a unit of the last digit: the vectors are of single precision.
    np.testing.assert_allclose([float(fields[2]) for fields in written], scores, atol=1.1e-5)
    assert [fields[3] == "target" for fields in written] == labels.tolist()


def test_the_mean_vector_can_be_a_list_or_an_array(folder: Path) -> None:
    by_folder = run(folder, "--cal-mean", folder / "mean", "--json").stdout
    by_list = run(folder, "--cal-mean", folder / "mean" / "xvector.scp", "--json").stdout
    mean = np.mean(list(kaldiio.load_scp(str(folder / "mean" / "xvector.scp")).values()), axis=0)
    np.save(folder / "mean_vec.npy", mean)
    assert by_folder == by_list == run(folder, "--cal-mean", folder / "mean_vec.npy", "--json").stdout
    assert json.loads(by_folder)["eer"] < json.loads(run(folder, "--json").stdout)["eer"], "that is what it is for"


def test_a_cohort_normalises_every_trial(folder: Path) -> None:
    result = run(folder, "--cohort", folder / "mean" / "xvector.scp", "--top-n", 4, "--scores", folder / "out.score")
    assert result.exit_code == 0, result.stderr
    vectors = {
        key: value / np.linalg.norm(value) for key, value in kaldiio.load_scp(str(folder / "all/xvector.scp")).items()
    }
    others = np.stack([vectors[key] for key in kaldiio.load_scp(str(folder / "mean" / "xvector.scp"))])
    for line in (folder / "out.score").read_text().splitlines()[::37]:
        first, second, value, _ = line.split()
        cosine = vectors[first] @ vectors[second]
        sides = [np.sort(others @ vectors[name])[-4:] for name in (first, second)]
        expected = sum((cosine - side.mean()) / side.std() for side in sides) / 2
        assert float(value) == pytest.approx(expected, abs=0.02)


def test_a_hundred_of_the_cohort_count_as_in_the_service(folder: Path) -> None:
    random = np.random.default_rng(8)
    cohort = {f"c{row}": random.standard_normal(SIZE).astype(np.float32) for row in range(150)}
    kaldiio.save_ark(str(folder / "c.ark"), cohort, scp=str(folder / "c.scp"))
    own, same, other = (
        run(folder, "--cohort", folder / "c.scp", "--json", *count).stdout
        for count in ((), ("--top-n", 100), ("--top-n", 150))
    )
    assert own == same != other


def test_trials_without_labels_are_scored_only(folder: Path) -> None:
    (folder / "trials").write_text("s0-0 s1-1\ns0-0 s0-1 target\n")
    refused = run(folder)
    assert (refused.exit_code, "1 trials have no label" in refused.stderr) == (2, True)
    result = run(folder, "--scores", folder / "out.score")
    assert (result.exit_code, result.stdout) == (0, "")
    assert len((folder / "out.score").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("trials", "complaint"),
    [
        ("a b maybe\n", "trials:1: expected `enrolment test"),
        ("\n", "holds no trials"),
        ("s0-0 nobody target\n", "1 ids of the trials have no vector, the first is nobody"),
        ("s0-0 s0-1 target\n", "1 target and 0 nontarget trials"),
    ],
)
def test_bad_trials_are_one_line(folder: Path, trials: str, complaint: str) -> None:
    (folder / "trials").write_text(trials)
    result = run(folder)
    assert result.exit_code == 1
    assert complaint in result.stderr
