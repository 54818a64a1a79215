"""The README's speaker commands, run as they are written, against a server that is there already."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from client.speaker.embed import embed
from client.speaker.verify import enroll, identify, speakers, verify

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
COMMANDS = {"embed": embed, "enroll": enroll, "identify": identify, "speakers": speakers, "verify": verify}


def test_the_speaker_commands_run_as_written(
    address: str, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = README.partition("## Speakers")[2].partition("```sh\n")[2].partition("```")[0]
    for path in recordings.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "wav.scp").write_text("a ann-1.wav\nb bob.flac\n")
    monkeypatch.chdir(tmp_path)

    output = {}
    for line in section.splitlines():
        program, name, *arguments = shlex.split(line, comments=True)
        assert program == "chorus"
        result = CliRunner().invoke(COMMANDS[name], [*arguments, "--server", address])
        assert result.exit_code == 0, (line, result.stderr)
        output[name, arguments[0] if arguments else ""] = result.stdout

    assert re.match(r"(same speaker|different speakers)  score \d\.\d{4}  threshold", output["verify", "speaker:ann"])
    assert output["identify", "somebody.wav"].split("\t")[2].startswith("ann=")
    assert output["speakers", ""].startswith("ann\t")
    assert (tmp_path / "exp" / "emb" / "xvector_000.scp").read_text().count("\n") == 2
