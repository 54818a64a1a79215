"""The README's code is the code that other tests run, and its links lead somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import client.client
import client.speaker.client
import client.sync
from tests.client.test_examples import example

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_client_code_is_the_clients_own_example_which_is_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert [block.strip() for block in blocks] == [
        example(client.client.__doc__).strip(),
        example(client.sync.__doc__).strip(),
        example(client.speaker.client.__doc__).strip(),
    ]


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.timeout(180)
def test_hotwords_are_used_as_written(tmp_path: Path) -> None:
    """The section's commands that need no server of the reader's own, with the embedded model."""
    section = README.partition("## Hotwords and language models")[2]
    commands = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].splitlines()[:2]
    (tmp_path / "models").symlink_to(ROOT / "models")
    chorus = tmp_path / "bin" / "chorus"
    chorus.parent.mkdir()
    chorus.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m client.cli "$@"\n')
    chorus.chmod(0o755)
    path = f"{chorus.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", "\n".join(commands)],
        capture_output=True, text=True, cwd=tmp_path, timeout=170, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["hotwords"] == {"num_hotwords": 2, "num_unspellable": 0, "unspellable": []}
    assert all("hotword_score" in each for result in document["results"] for each in result["alternatives"])
