import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client.score import score

REFERENCE = "SPEAKER f 1 0 4 <NA> <NA> x <NA> <NA>\nSPEAKER f 1 5 4 <NA> <NA> y <NA> <NA>\n"
HYPOTHESIS = "SPEAKER f 1 1 3 <NA> <NA> 0 <NA> <NA>\nSPEAKER f 1 5 4 <NA> <NA> 1 <NA> <NA>\n"


def run(folder: Path, reference: str, hypothesis: str, *options: str) -> Result:
    (folder / "ref").write_text(reference, encoding="utf-8")
    (folder / "hyp").write_text(hypothesis, encoding="utf-8")
    return CliRunner().invoke(score, ["der", str(folder / "ref"), str(folder / "hyp"), *options])


def test_the_summary_says_rate_and_parts(tmp_path: Path) -> None:
    result = run(tmp_path, REFERENCE, HYPOTHESIS)

    assert result.stdout == "DER 12.50 % [ missed 12.50 %, false alarm 0.00 %, confused 0.00 % of 8.00 s ]\n"
    assert result.stderr == ""


def test_the_collar_is_applied(tmp_path: Path) -> None:
    # 4 s lose 0.25 s at both ends; 0.75 s of the missed second stay.
    assert run(tmp_path, REFERENCE, HYPOTHESIS, "--collar", "0.25").stdout.startswith("DER 10.71 %")


def test_json_has_the_same_numbers(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, REFERENCE, HYPOTHESIS, "--json", "--details").stdout)

    assert found["rate"] == pytest.approx(0.125)
    assert found["files"] == [
        {"file": "f", "channel": "1", "rate": 0.125, "scored_s": 8.0, "missed_s": 1.0, "false_alarm_s": 0.0,
         "confused_s": 0.0}
    ]  # fmt: skip


def test_files_that_do_not_match_are_named(tmp_path: Path) -> None:
    result = run(tmp_path, REFERENCE, HYPOTHESIS.replace(" f ", " g "), "--details")

    assert "1 of 1 files not in" in result.stderr
    assert "1 files without a reference are not scored: g" in result.stderr
    assert result.stdout.startswith("f 1  DER 100.00 %")


@pytest.mark.parametrize(("reference", "message"), [("", "holds no turns"), ("SPEAKER f", "line 1: 2 fields")])
def test_an_unusable_reference_is_one_line_of_error(tmp_path: Path, reference: str, message: str) -> None:
    result = run(tmp_path, reference, HYPOTHESIS)

    assert result.exit_code == 1
    assert message in result.stderr
