import json
from pathlib import Path

import jiwer
import pytest
from click.testing import CliRunner, Result

from client.compare import compare
from client.score import score

REFERENCE = "a the cat sat on the mat\nb\thello world\nc one two three four\n"
HYPOTHESIS = "c one too three\na the cat sat on mat\nb hello big world\n"


def run(folder: Path, reference: str, hypothesis: str, *options: str) -> Result:
    (folder / "ref").write_text(reference, encoding="utf-8")
    (folder / "hyp").write_text(hypothesis, encoding="utf-8")
    return CliRunner().invoke(score, ["wer", str(folder / "ref"), str(folder / "hyp"), *options])


def test_the_summary_counts_by_id_whatever_the_order(tmp_path: Path) -> None:
    result = run(tmp_path, REFERENCE, HYPOTHESIS)
    assert result.stdout == "WER 33.33 % [ 4 / 12, 1 sub, 2 del, 1 ins ]\n"
    assert result.exit_code == 0


def test_counts_are_those_of_jiwer(tmp_path: Path) -> None:
    references = ["the cat sat on the mat", "hello world", "one two three four"]
    hypotheses = ["the cat sat on mat", "hello big world", "one too three"]
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(
        ["".join(text.split()) for text in references], ["".join(text.split()) for text in hypotheses]
    )
    found = json.loads(run(tmp_path, REFERENCE, HYPOTHESIS, "--json").stdout)
    assert found["rate"] == pytest.approx(words.wer)
    assert [found[name] for name in ("substitutions", "deletions", "insertions")] == [
        words.substitutions,
        words.deletions,
        words.insertions,
    ]
    assert json.loads(run(tmp_path, REFERENCE, HYPOTHESIS, "--json", "--cer").stdout)["rate"] == pytest.approx(
        characters.cer
    )


def test_chinese_is_scored_by_character(tmp_path: Path) -> None:
    result = run(tmp_path, "a 今天天气很好\n", "a 今天 天气 不好\n", "--cer")
    assert result.stdout == "CER 16.67 % [ 1 / 6, 1 sub, 0 del, 0 ins ]\n"


@pytest.mark.parametrize(
    ("option", "summary"),
    [
        ("deleted", "WER 50.00 % [ 2 / 4, 0 sub, 2 del, 0 ins ]"),
        ("ignored", "WER 0.00 % [ 0 / 2, 0 sub, 0 del, 0 ins ]"),
    ],
)
def test_a_missing_transcript_is_named_and_counts_as_told(tmp_path: Path, option: str, summary: str) -> None:
    result = run(tmp_path, "a one two\nb three four\n", "a one two\nx five\n", "--missing", option)
    assert result.stdout == summary + "\n"
    assert "1 id (b) without a transcript" in result.stderr
    assert "1 id (x) without a reference" in result.stderr


def test_a_missing_transcript_can_be_refused(tmp_path: Path) -> None:
    result = run(tmp_path, "a one\nb two\n", "a one\n", "--missing", "refused")
    assert result.exit_code == 1
    assert "1 id (b)" in result.stderr


def test_files_without_a_common_id_are_refused(tmp_path: Path) -> None:
    result = run(tmp_path, "a one\n", "b one\n")
    assert result.exit_code == 1
    assert "no id in common" in result.stderr


def test_an_empty_transcript_deletes_everything_and_an_empty_reference_inserts(tmp_path: Path) -> None:
    assert run(tmp_path, "a one two\n", "a\n").stdout == "WER 100.00 % [ 2 / 2, 0 sub, 2 del, 0 ins ]\n"
    found = json.loads(run(tmp_path, "a\n", "a one\n", "--json").stdout)
    assert (found["rate"], found["insertions"]) == (None, 1)


def test_details_show_the_alignment_of_each_utterance(tmp_path: Path) -> None:
    result = run(tmp_path, REFERENCE, HYPOTHESIS, "--details")
    assert "c  [ 2 / 4, 1 sub, 1 del, 0 ins ]" in result.stdout
    assert "REF: one two three four" in result.stdout
    details = json.loads(run(tmp_path, REFERENCE, HYPOTHESIS, "--details", "--json").stdout)["details"]
    assert [entry["id"] for entry in details] == ["a", "b", "c"]


def test_case_and_punctuation_count_unless_normalised(tmp_path: Path) -> None:
    reference, hypothesis = "a Hello, world.\n", "a HELLO WORLD\n"
    assert run(tmp_path, reference, hypothesis).stdout.startswith("WER 100.00 %")
    assert run(tmp_path, reference, hypothesis, "--normalise").stdout.startswith("WER 0.00 %")


def test_a_malformed_file_is_named_with_its_line(tmp_path: Path) -> None:
    result = run(tmp_path, "a one\na two\n", "a one\n")
    assert result.exit_code == 1
    assert "ref:2: a was there before, in line 1" in result.stderr


def test_compare_keeps_the_order_of_the_references() -> None:
    comparison = compare({"b": "x", "a": "y"}, {"a": "y", "b": "z"})
    assert comparison.ids == ("b", "a")
    assert [pair.counts.errors for pair in comparison.pairs.values()] == [1, 0]
