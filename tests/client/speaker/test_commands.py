"""The commands as a user runs them, against a real server; and the archives they write, read by other code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import kaldiio
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from client import SpeakerClient
from client.errors import BadList
from client.speaker import archive as module
from client.speaker.archive import Archive, load
from client.speaker.embed import embed
from client.speaker.verify import enroll, identify, speakers, verify
from tests.server.speaker.support import WESPEAKER, folder_of

Run = Callable[..., Result]


@pytest.fixture
def run(address: str) -> Run:
    def run(command: click.Command, *arguments: object) -> Result:
        return CliRunner().invoke(command, ["--server", address, *map(str, arguments)])

    return run


@pytest.fixture
def wav_scp(tmp_path: Path, recordings: Path) -> Path:
    path = tmp_path / "wav.scp"
    names = ["ann-1.wav", "short.wav", "text.wav", "missing.wav", "bob.flac", "somebody.wav"]
    path.write_text("".join(f"{Path(name).stem} {recordings / name}\n" for name in names))
    return path


def test_embed_writes_what_kaldiio_reads_and_goes_on_past_failures(
    run: Run, wav_scp: Path, tmp_path: Path, address: str, recordings: Path
) -> None:
    out = tmp_path / "new" / "out"
    result = run(embed, "--wav-scp", wav_scp, "--out", out, "--also", "npy")
    assert result.exit_code == 1
    assert result.stdout == ""
    problems = result.stderr.splitlines()
    assert problems[0].startswith("short: INVALID_ARGUMENT 320 samples of audio")
    assert problems[1].startswith("text: INVALID_ARGUMENT")
    assert problems[2] == f"missing: NOT_FOUND no such file: {recordings / 'missing.wav'}"
    assert problems[3] == "3 embedded, 0 were there, 3 failed"

    by_list = dict(kaldiio.load_scp(str(out / "xvector_000.scp")).items())
    in_order = [(key, value.copy()) for key, value in kaldiio.load_ark(str(out / "xvector_000.ark"))]
    assert [key for key, _ in in_order] == list(by_list) == ["ann-1", "bob", "somebody"]
    matrix = np.load(out / "xvector.npy")
    assert (out / "xvector.ids").read_text().split() == list(by_list)
    with SpeakerClient(address) as client:
        for row, (key, value) in zip(matrix, in_order, strict=True):
            name = next(recordings.glob(f"{key}.*"))
            np.testing.assert_array_equal(value, client.embed(name).vector)
            np.testing.assert_array_equal(by_list[key], value)
            np.testing.assert_array_equal(row, value)
    [line] = [line for line in (out / "xvector_000.scp").read_text().splitlines() if line.startswith("bob ")]
    assert Path(line.split()[1].rpartition(":")[0]) == (out / "xvector_000.ark").resolve()


def test_embed_goes_on_where_a_run_was_broken_off(run: Run, wav_scp: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(embed, "--wav-scp", wav_scp, "--out", whole)
    ark, scp = (whole / "xvector_000.ark").read_bytes(), (whole / "xvector_000.scp").read_text()
    lines = scp.splitlines(keepends=True)

    # Killed between the archive and the list, and in the middle of a line of the list.
    for tail in ("", lines[1][:-5]):
        (whole / "xvector_000.scp").write_text(lines[0] + tail)
        (whole / "xvector_000.ark").write_bytes(ark[: len(ark) // 2 + 3])
        result = run(embed, "--wav-scp", wav_scp, "--out", whole)
        assert result.stderr.splitlines()[-1] == "2 embedded, 1 were there, 3 failed"
        assert (whole / "xvector_000.ark").read_bytes() == ark
        assert (whole / "xvector_000.scp").read_text() == scp
    again = run(embed, "--wav-scp", wav_scp, "--out", whole)
    assert again.stderr.splitlines()[-1] == "0 embedded, 3 were there, 3 failed"
    fresh = run(embed, "--wav-scp", wav_scp, "--out", whole, "--fresh")
    assert fresh.stderr.splitlines()[-1] == "3 embedded, 0 were there, 3 failed"
    assert (whole / "xvector_000.ark").read_bytes() == ark


def test_vectors_of_another_model_never_join_an_archive(run: Run, wav_scp: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(embed, "--wav-scp", wav_scp, "--out", out)
    facts = json.loads((out / "xvector_000.json").read_text())
    (out / "xvector_000.json").write_text(json.dumps({**facts, "fingerprint": "0123456789abcdef"}))
    (out / "xvector_000.scp").write_text((out / "xvector_000.scp").read_text().splitlines(keepends=True)[0])
    result = run(embed, "--wav-scp", wav_scp, "--out", out)
    assert result.exit_code == 1
    assert "fingerprint 0123456789abcdef" in result.stderr
    assert facts["fingerprint"] in result.stderr


def test_embed_prints_json_without_a_folder(run: Run, recordings: Path) -> None:
    result = run(embed, recordings / "ann-1.wav", recordings / "bob.flac", "--normalize")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [document["id"] for document in documents] == ["ann-1", "bob"]
    assert [np.linalg.norm(document["embedding"]) for document in documents] == [pytest.approx(1, abs=1e-5)] * 2
    assert documents[0]["quality"] == "fair"


def test_large_files_are_streamed(run: Run, recordings: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.speaker.embed.STREAM_BYTES", 1000)
    [line] = run(embed, recordings / "bob.flac").stdout.splitlines()
    with SpeakerClient(address) as client:
        whole = client.embed(recordings / "bob.flac").vector
    np.testing.assert_allclose(json.loads(line)["embedding"], whole, rtol=1e-5, atol=1e-6)


def test_parquet_holds_the_same_vectors(run: Run, wav_scp: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    run(embed, "--wav-scp", wav_scp, "--out", tmp_path, "--also", "parquet")
    table = parquet.read_table(tmp_path / "xvector.parquet")
    vectors = load(tmp_path / "xvector_000.scp")
    assert table["id"].to_pylist() == list(vectors)
    np.testing.assert_array_equal(
        np.array(table["embedding"].to_pylist(), np.float32), np.stack(list(vectors.values()))
    )


def test_without_the_extra_parquet_says_what_to_install(
    run: Run, wav_scp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run(embed, "--wav-scp", wav_scp, "--out", tmp_path, "--also", "parquet")
    assert result.exit_code == 1
    assert "pip install 'chorus[parquet]'" in result.stderr


def test_voices_are_enrolled_verified_identified_listed_and_forgotten(address: str, recordings: Path) -> None:
    def run(command: click.Command, *arguments: object) -> Result:
        return CliRunner().invoke(command, ["--server", address, "--gallery", "commands", *map(str, arguments)])

    first = run(enroll, "ann", recordings / "ann-1.wav", recordings / "ann-2.wav")
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith("ann  2 voices, 5.0 s, consistency ")
    run(enroll, "bob", recordings / "bob.flac")

    same = run(verify, "speaker:ann", recordings / "somebody.wav", "--threshold", "-1")
    assert same.stdout.startswith("same speaker  score ")
    other = run(verify, recordings / "bob.flac", recordings / "somebody.wav", "--threshold", "1")
    assert other.stdout.startswith("different speakers  score ")
    document = json.loads(run(verify, recordings / "bob.flac", recordings / "bob.flac", "--json").stdout)
    assert document["score"] == pytest.approx(1)
    assert document["is_same"] is True
    short = run(verify, recordings / "short.wav", "speaker:ann")
    assert (short.exit_code, "INVALID_ARGUMENT 320 samples" in short.stderr) == (1, True)

    named = run(identify, recordings / "somebody.wav", recordings / "bob.flac", "--threshold", "-1", "--top", "1")
    rows = [line.split("\t") for line in named.stdout.splitlines()]
    assert [row[1] for row in rows] == ["ann", "bob"]
    assert [row[2].partition("=")[0] for row in rows] == ["ann", "bob"]
    nobody = run(identify, recordings / "bob.flac", "--gallery", "empty")
    assert nobody.stdout.split("\t")[1:] == ["-", "\n"]

    assert [line.split("\t")[0] for line in run(speakers).stdout.splitlines()] == ["ann", "bob"]
    assert run(speakers, "--delete", "bob").stdout == "bob: 1 voices forgotten\n"
    again = run(speakers, "--delete", "bob")
    assert (again.exit_code, "NOT_FOUND" in again.stderr) == (1, True)


def test_doubtful_audio_is_warned_about(run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(32000) * 0.1
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    result = run(verify, tmp_path / "noise.wav", tmp_path / "noise.wav")
    assert "warning: " in result.stderr
    assert "poor audio (2.0 s of speech" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "nothing to embed"),
        (["a.wav", "--wav-scp", "x"], "exclude each other"),
        (["a.wav", "--fresh"], "go with --out"),
        (["-", "-"], "once"),
        (["a.wav", "--encoding", "mulaw"], "--rate is needed"),
    ],
)
def test_options_that_make_no_sense_are_refused(run: Run, arguments: list[Any], complaint: str) -> None:
    result = run(embed, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_own_server_options_need_an_own_server(run: Run) -> None:
    result = run(verify, "a.wav", "b.wav", "--gallery-file", "x")
    assert (result.exit_code, "--gallery-file is for the server that is started here" in result.stderr) == (2, True)


def test_a_list_never_runs_a_program(tmp_path: Path) -> None:
    scp = tmp_path / "evil.scp"
    scp.write_text(f"a touch {tmp_path}/run |\n")
    with pytest.raises(BadList, match="is a command"):
        load(scp)
    assert not (tmp_path / "run").exists()


def test_an_archive_shorter_than_its_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "xvector_000.scp").write_text(f"a {tmp_path}/xvector_000.ark:2\n")
    (tmp_path / "xvector_000.json").write_text('{"fingerprint": "f", "model": "m", "dimension": 4}')
    with pytest.raises(BadList, match="is shorter than"):
        Archive(tmp_path)
    Archive(tmp_path, fresh=True).close()
    assert module.NAME == "xvector_000"


def test_a_server_of_ones_own_keeps_its_gallery_between_commands(tmp_path: Path, recordings: Path) -> None:
    own = ["--models", folder_of(tmp_path, WESPEAKER), "--gallery-file", tmp_path / "voices.sqlite"]

    def run(command: click.Command, *arguments: object) -> Result:
        result = CliRunner().invoke(command, [str(each) for each in (*arguments, *own)])
        assert result.exit_code == 0, result.stderr
        return result

    run(enroll, "ann", recordings / "ann-1.wav")
    assert run(identify, recordings / "ann-2.wav", "--threshold", "-1").stdout.split("\t")[1] == "ann"


def test_models_that_cannot_be_fetched_are_one_clear_error(
    tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHORUS_CACHE", str(tmp_path))
    monkeypatch.setenv("CHORUS_OFFLINE", "1")
    result = CliRunner().invoke(verify, [str(recordings / "ann-1.wav"), str(recordings / "bob.flac")])
    assert result.exit_code == 1
    assert "name your own with --models, or a server with --server" in result.stderr
    assert "CHORUS_OFFLINE forbids to fetch it" in capfd.readouterr().err
